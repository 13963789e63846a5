SELECT r.ts, r.machine, r.temperature
FROM readings r
WHERE NOT EXISTS (
  SELECT * FROM status s
  WHERE s.machine = r.machine AND s.ts BETWEEN r.ts - INTERVAL 15 MINUTE AND r.ts)
