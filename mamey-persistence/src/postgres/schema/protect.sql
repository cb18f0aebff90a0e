-- Takes all rights on what is ours from PUBLIC, which by default may call every function. Roles that may
-- write the inbox are the services: they may call the functions that are new.
DO $protect$
DECLARE
    ours   oid := (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = 'mamey._inbox'::regclass);
    item   record;
    writer text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOR item IN SELECT oid::regprocedure::text AS name FROM pg_proc
        WHERE pronamespace = ours AND left(proname, 1) = '_' AND (proacl IS NULL
            OR EXISTS (SELECT 1 FROM aclexplode(proacl) AS held WHERE held.grantee = 0))
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', item.name);
        FOR writer IN SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
            WHERE pg_class.oid = 'mamey._inbox'::regclass AND privilege_type = 'INSERT'
                AND grantee NOT IN (0, relowner)
        LOOP
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', item.name, writer);
        END LOOP;
    END LOOP;
    FOR item IN SELECT format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
            oid::regclass) AS name FROM pg_class
        WHERE relnamespace = ours AND relkind IN ('r', 'p', 'S')
            AND (left(relname, 1) = '_' OR relname IN (SELECT made.name FROM mamey._collections AS made))
            AND EXISTS (SELECT 1 FROM aclexplode(relacl) AS held WHERE held.grantee = 0)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', item.name);
    END LOOP;
END
$protect$
