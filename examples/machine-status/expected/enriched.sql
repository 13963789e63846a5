-- Of two status of one time, the later one in the stream is the only version.
WITH versions AS (
  SELECT * FROM status QUALIFY ROW_NUMBER() OVER (PARTITION BY machine, ts ORDER BY line DESC) = 1)
SELECT r.ts, r.machine, r.temperature, s.status, s.ts AS since
FROM readings r ASOF LEFT JOIN versions s ON r.machine = s.machine AND r.ts >= s.ts
