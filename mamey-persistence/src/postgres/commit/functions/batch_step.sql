        IF document_tables[place] = {number} THEN
            CASE step_kinds[i]
            WHEN 0 THEN
                DELETE FROM {table} WHERE id = document_ids[place]::{id};
            WHEN 1 THEN
                UPDATE {table} SET version = version{give_up}
                WHERE id = document_ids[place]::{id};
            WHEN 2 THEN
                UPDATE {table} SET version = version + 1, layout = {layout},
                    data = step_data[i]::json{set}
                WHERE id = document_ids[place]::{id};
            WHEN 3 THEN
                INSERT INTO {table} (id, version, layout, data{columns})
                VALUES (document_ids[place]::{id}, 1, {layout}, step_data[i]::json{values})
                ON CONFLICT (id) DO NOTHING;
            END CASE;
        END IF;
