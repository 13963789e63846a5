SELECT meter, ts, kwh, LEAD(kwh, 1) OVER (PARTITION BY meter ORDER BY ts) AS next_kwh
FROM meters
