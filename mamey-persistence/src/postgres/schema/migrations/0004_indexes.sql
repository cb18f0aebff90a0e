-- Fills the columns of indexed fields from the documents. A build that knows a field writes its column
-- itself. For the others the table's trigger does it with the functions here, and `_fill` does it for
-- documents that are older than the field.

-- A document that operators of JSON can read. They resolve the escapes of all its texts, and fail on
-- what PostgreSQL's text cannot hold: the character NUL, and half of a surrogate pair. NUL becomes the
-- escape that columns have for it (the characters 1 and 1; the character 1 becomes 1 and 2), a half the
-- replacement character. Within JSON the character 1 itself is always escaped, so meanwhile it stands
-- for an escaped backslash.
CREATE FUNCTION mamey._readable(document json) RETURNS json LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written text := document::text;
BEGIN
    IF strpos(written, '\u') = 0 THEN
        RETURN document;
    END IF;
    written := replace(written, '\\', E'\x01');
    written := replace(written, '\u0001', '\u0001\u0002');
    written := replace(written, '\u0000', '\u0001\u0001');
    IF strpos(written, '\ud') > 0 OR strpos(written, '\uD') > 0 THEN
        written := regexp_replace(written,
            '\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})', '\ufffd', 'g');
        written := regexp_replace(written,
            '(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}', '\ufffd', 'g');
    END IF;
    RETURN replace(written, E'\x01', '\\')::json;
END
$$;

-- Each `_read_…` function takes a field of such a document. It returns null for a value that is not
-- written as its type. What they read is what `indexed_values` reads in Rust.
CREATE FUNCTION mamey._read_bool(field json) RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE json_typeof(field) WHEN 'boolean' THEN field::text = 'true' END
$$;

CREATE FUNCTION mamey._read_int(field json) RETURNS bigint LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN json_typeof(field) = 'number' AND field::text ~ '^-?[0-9]{1,19}$' THEN
        CASE WHEN field::text::numeric BETWEEN -9223372036854775808 AND 9223372036854775807
            THEN field::text::bigint END
    END
$$;

-- Negative zero becomes zero, as everywhere in the indexes, and so does what is too small.
CREATE FUNCTION mamey._read_float(field json) RETURNS double precision LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF json_typeof(field) = 'number' THEN
        RETURN field::text::double precision + 0;
    END IF;
    RETURN NULL;
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN field::text ~ '[eE]-|^-?0[.][0-9]*$' THEN 0 END;
END
$$;

-- Text that is too long to be indexed has no value; escapes count, as they do in Rust.
CREATE FUNCTION mamey._read_text(field json) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN json_typeof(field) = 'string' THEN
        CASE WHEN octet_length(plain) <= 2048 THEN plain END
    END
    FROM (SELECT field #>> '{}' AS plain) AS texts
$$;

CREATE FUNCTION mamey._read_uuid(field json) RETURNS uuid LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN json_typeof(field) = 'string' AND field #>> '{}'
            ~ '^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32})$'
        THEN (field #>> '{}')::uuid END
$$;

-- RFC 3339 as microseconds; finer digits are cut off. Moments outside of its years 0 to 9999 are
-- written as a number with `us`. PostgreSQL calls the year 0 the year 1 BC. The offset is subtracted
-- here, because PostgreSQL does not know all that RFC 3339 allows.
CREATE FUNCTION mamey._read_time(field json) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written text := CASE json_typeof(field) WHEN 'string' THEN field #>> '{}' END;
    parts   text[] := regexp_match(written, '^([0-9]{4})(-[0-9]{2}-[0-9]{2})[Tt ]'
        '((?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60))(?:[.]([0-9]{1,6})[0-9]*)?'
        '(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$');
    leap    boolean := right(parts[3], 2) = '60';
    day     text := CASE parts[1] WHEN '0000' THEN '0001' || parts[2] || ' BC'
        ELSE parts[1] || parts[2] END;
    micros  numeric;
BEGIN
    IF written ~ '^[+-]?[0-9]+us$' THEN
        micros := rtrim(written, 'us')::numeric;
    ELSE
        -- A leap second is the end of the second before it.
        micros := extract(epoch FROM day::date + parts[3]::time) * 1000000
            + CASE WHEN leap THEN -1 ELSE rpad(coalesce(parts[4], ''), 6, '0')::bigint END
            - coalesce((parts[5] || '60000000')::bigint * (parts[6]::int * 60 + parts[7]::int), 0);
    END IF;
    RETURN CASE WHEN micros BETWEEN -9223372036854775808 AND 9223372036854775807
        THEN micros::bigint END;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR numeric_value_out_of_range THEN
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
    -- A procedure that commits can have no setting of its own.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT indexes.*, collections.id_type,
        CASE collections.id_type WHEN 'bool' THEN 'boolean' WHEN 'int' THEN 'bigint'
            WHEN 'time' THEN 'bigint' WHEN 'float' THEN 'double precision'
            ELSE collections.id_type END AS id_sql
    INTO STRICT target
    FROM mamey._indexes AS indexes JOIN mamey._collections AS collections ON name = collection
    WHERE collection = of_collection AND field = of_field;
    source := format('mamey.%I(mamey._readable(stored.data)->%L)', '_read_' || target.type, of_field);
    LOOP
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
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
            'AND %2$I IS NULL AND json_typeof(mamey._readable(data)->$3) <> ''null'' '
            'AND %3$s IS NULL AND stored.layout NOT IN '
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
