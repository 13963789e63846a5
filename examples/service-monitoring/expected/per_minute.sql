SELECT date_trunc('minute', ts) AS window_start, date_trunc('minute', ts) + INTERVAL 1 MINUTE AS window_end,
       service,
       COUNT(*) AS requests,
       COUNT(*) FILTER (WHERE status >= 500) AS errors,
       ROUND(COUNT(*) FILTER (WHERE status >= 500)::DOUBLE * 100 / COUNT(*), 2) AS error_percent,
       ROUND(QUANTILE_CONT(latency_ms, 0.99), 1) AS p99_ms
FROM requests
GROUP BY ALL
