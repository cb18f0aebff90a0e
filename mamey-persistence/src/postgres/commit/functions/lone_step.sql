        IF document_table = {number} THEN
            CASE step_kind
            WHEN 2 THEN
                UPDATE {table} SET version = version + 1, layout = {layout},
                    data = step_data::json{set}
                WHERE id = document_id::{id} AND version = document_version;
            WHEN 3 THEN
                INSERT INTO {table} (id, version, layout, data{columns})
                VALUES (document_id::{id}, 1, {layout}, step_data::json{values})
                ON CONFLICT (id) DO NOTHING;
            WHEN 0 THEN
                DELETE FROM {table} WHERE id = document_id::{id} AND version = document_version;
            END CASE;
        END IF;
