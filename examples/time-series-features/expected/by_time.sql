SELECT m.meter, m.ts, m.kwh,
       COUNT(w.kwh) AS values_1h,
       ROUND(AVG(w.kwh), 4) AS mean_1h,
       ROUND(STDDEV_SAMP(w.kwh), 4) AS stddev_1h,
       MIN(w.kwh) AS min_1h,
       MAX(w.kwh) AS max_1h,
       FIRST(w.kwh ORDER BY w.ts) AS hour_ago
FROM meters m
JOIN meters w ON w.meter = m.meter AND w.ts BETWEEN m.ts - INTERVAL 1 HOUR AND m.ts
GROUP BY m.meter, m.ts, m.kwh
