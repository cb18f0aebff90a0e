-- Fills the columns of indexed fields from the documents. A build that knows a field writes its column
-- itself. For the others the table's trigger does it with the functions here, and `_fill` does it for
-- documents that are older than the field.

-- Each `_read_…` function returns null for a value that is not written as its type.
CREATE FUNCTION mamey._read_bool(field jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(field) WHEN 'boolean' THEN field::boolean END
$$;

CREATE FUNCTION mamey._read_int(field jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(field) = 'number' AND field::text ~ '^-?[0-9]{1,19}$' THEN
        CASE WHEN field::numeric BETWEEN -9223372036854775808 AND 9223372036854775807
            THEN field::bigint END
    END
$$;

-- Negative zero becomes zero, as everywhere in the indexes.
CREATE FUNCTION mamey._read_float(field jsonb) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(field) WHEN 'number' THEN
        CASE WHEN field::numeric = 0
                OR abs(field::numeric) BETWEEN 5e-324 AND 1.7976931348623157e308
            THEN field::double precision + 0 END
    END
$$;

-- The character 1 begins an escape of a character that PostgreSQL does not store.
CREATE FUNCTION mamey._read_text(field jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(field) WHEN 'string'
        THEN replace(field #>> '{}', E'\x01', E'\x01\x02') END
$$;

CREATE FUNCTION mamey._read_uuid(field jsonb) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(field) = 'string'
            AND field #>> '{}' ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
        THEN (field #>> '{}')::uuid END
$$;

-- RFC 3339 as microseconds; finer digits are cut off.
CREATE FUNCTION mamey._read_time(field jsonb) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parts text[] := regexp_match(CASE jsonb_typeof(field) WHEN 'string' THEN field #>> '{}' END,
        '^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*([Zz]|[+-]\d\d:\d\d)$');
BEGIN
    IF parts IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (extract(epoch FROM (parts[1] || ' ' || parts[2] || parts[3])::timestamptz) * 1000000)::bigint;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
    RETURN NULL;
END
$$;

-- Fills the column of one field, a few documents in each transaction, and continues where it was
-- stopped. It skips documents whose last writer knows the field. It raises MA010 with the document's id
-- when the field is present and not written as its type.
CREATE PROCEDURE mamey._fill(of_collection text, of_field text, documents_per_step int)
LANGUAGE plpgsql AS $$
DECLARE
    target record;
    source text;
    ids    text[];
    wrong  text;
BEGIN
    SELECT indexes.*, collections.id_type,
        CASE collections.id_type WHEN 'bool' THEN 'boolean' WHEN 'int' THEN 'bigint'
            WHEN 'time' THEN 'bigint' WHEN 'float' THEN 'double precision'
            ELSE collections.id_type END AS id_sql
    INTO STRICT target
    FROM mamey._indexes AS indexes JOIN mamey._collections AS collections ON name = collection
    WHERE collection = of_collection AND field = of_field;
    source := format('mamey.%I(stored.data->%L)', '_read_' || target.type, of_field);
    LOOP
        EXECUTE format('SELECT array_agg(id::text ORDER BY id) FROM (SELECT id FROM mamey.%I '
            'WHERE $1 IS NULL OR id > $1::%s ORDER BY id LIMIT $2) AS page',
            of_collection, target.id_sql)
            INTO ids USING target.filled_to, documents_per_step;
        EXIT WHEN ids IS NULL;
        EXECUTE format('UPDATE mamey.%1$I AS stored SET %2$I = %3$s '
            'FROM (SELECT id FROM mamey.%1$I WHERE id = ANY($1::%4$s[]) ORDER BY id FOR UPDATE) AS page '
            'WHERE stored.id = page.id AND stored.%2$I IS DISTINCT FROM %3$s AND stored.layout NOT IN '
            '(SELECT layout FROM mamey._declarations WHERE collection = $2 AND $3 = ANY(fields))',
            of_collection, target.column_name, source, target.id_sql)
            USING ids, of_collection, of_field;
        EXECUTE format('SELECT id::text FROM mamey.%1$I AS stored WHERE id = ANY($1::%4$s[]) '
            'AND %2$I IS NULL AND jsonb_typeof(data->$3) <> ''null'' AND %3$s IS NULL '
            'AND stored.layout NOT IN '
            '(SELECT layout FROM mamey._declarations WHERE collection = $2 AND $3 = ANY(fields)) LIMIT 1',
            of_collection, target.column_name, source, target.id_sql)
            INTO wrong USING ids, of_collection, of_field;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'MA010', MESSAGE = 'written as another type',
                DETAIL = wrong;
        END IF;
        target.filled_to := ids[cardinality(ids)];
        UPDATE mamey._indexes SET filled_to = target.filled_to
        WHERE collection = of_collection AND field = of_field;
        COMMIT;
    END LOOP;
END
$$;
