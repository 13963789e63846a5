-- The last request of each session is the one that no other follows within 90 seconds. What came before
-- it, back to the session before, belongs to it.
WITH last AS (
  SELECT service, ts AS last_heard
  FROM requests r
  WHERE NOT EXISTS (
    SELECT * FROM requests later
    WHERE later.service = r.service AND later.ts > r.ts AND later.ts <= r.ts + INTERVAL 90 SECOND)
  GROUP BY ALL
)
SELECT last.service, last_heard, last_heard + INTERVAL 90 SECOND AS silent_since_90s,
       (SELECT COUNT(*) FROM requests r
        WHERE r.service = last.service AND r.ts <= last_heard AND r.ts > COALESCE(
          (SELECT MAX(earlier.last_heard) FROM last earlier
           WHERE earlier.service = last.service AND earlier.last_heard < last.last_heard),
          TIMESTAMP '1970-01-01')) AS requests_before
FROM last
