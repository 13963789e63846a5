SELECT window_end, service, team, CASE WHEN errors * 20 > requests THEN 'errors' ELSE 'slow' END AS alert,
       requests, errors, p99_ms
FROM (
  SELECT date_trunc('minute', ts) + INTERVAL 1 MINUTE AS window_end, service, COUNT(*) AS requests,
         COUNT(*) FILTER (WHERE status >= 500) AS errors,
         ROUND(QUANTILE_CONT(latency_ms, 0.99), 1) AS p99_ms
  FROM requests
  GROUP BY ALL
) JOIN services USING (service)
WHERE requests >= 20 AND (errors * 20 > requests OR p99_ms > 1000)
