SELECT bearing, ts, mean, slope_per_hour, ROUND((4.5 - mean) / slope_per_hour, 1) AS hours_to_limit
FROM (
  SELECT v.bearing, v.ts, COUNT(*) AS readings,
         ROUND(AVG(w.mm_per_s), 2) AS mean,
         ROUND(3600 * COVAR_POP(w.mm_per_s, EPOCH(w.ts - v.ts))
               / NULLIF(VAR_POP(EPOCH(w.ts - v.ts)), 0), 2) AS slope_per_hour
  FROM vibrations v
  JOIN vibrations w ON w.bearing = v.bearing AND w.ts BETWEEN v.ts - INTERVAL 30 MINUTE AND v.ts
  GROUP BY v.bearing, v.ts
)
WHERE readings >= 40 AND slope_per_hour > 0.8
