-- The slope by its definition: covariance of time and value over variance of time.
SELECT v.bearing, v.ts, v.mm_per_s,
       ROUND(AVG(w.mm_per_s), 2) AS mean,
       ROUND(3600 * COVAR_POP(w.mm_per_s, EPOCH(w.ts - v.ts))
             / NULLIF(VAR_POP(EPOCH(w.ts - v.ts)), 0), 2) AS slope_per_hour
FROM vibrations v
JOIN vibrations w ON w.bearing = v.bearing AND w.ts BETWEEN v.ts - INTERVAL 30 MINUTE AND v.ts
GROUP BY v.bearing, v.ts, v.mm_per_s
