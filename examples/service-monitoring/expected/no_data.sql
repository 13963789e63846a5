SELECT minute AS window_start, minute + INTERVAL 1 MINUTE AS window_end, service, team
FROM (SELECT DISTINCT date_trunc('minute', ts) AS minute FROM requests) CROSS JOIN services
WHERE NOT EXISTS (
  SELECT * FROM requests r WHERE r.service = services.service AND date_trunc('minute', r.ts) = minute)
