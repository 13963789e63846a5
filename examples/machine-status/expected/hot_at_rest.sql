WITH versions AS (
  SELECT * FROM status QUALIFY ROW_NUMBER() OVER (PARTITION BY machine, ts ORDER BY line DESC) = 1)
SELECT r.ts, r.machine, r.temperature, s.status, s.ts AS since
FROM readings r ASOF JOIN versions s ON r.machine = s.machine AND r.ts >= s.ts
WHERE s.ts >= r.ts - INTERVAL 15 MINUTE AND r.temperature > 68 AND s.status <> 'running'
