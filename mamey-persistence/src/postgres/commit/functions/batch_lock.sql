        IF document_tables[i] = {number} THEN
            IF document_guards[i] THEN
                SELECT version INTO stored FROM {table}
                WHERE id = document_ids[i]::{id} FOR SHARE;
            ELSE
                SELECT version INTO stored FROM {table}
                WHERE id = document_ids[i]::{id} FOR UPDATE;
            END IF;
        END IF;
