SELECT date_trunc('hour', ts) AS window_start, date_trunc('hour', ts) + INTERVAL 1 HOUR AS window_end,
       COUNT(DISTINCT visitor) AS visitors,
       COUNT(DISTINCT visitor) FILTER (WHERE action = 'cart') AS with_cart,
       COUNT(DISTINCT visitor) FILTER (WHERE action = 'purchase') AS buyers,
       ROUND(COUNT(DISTINCT visitor) FILTER (WHERE action = 'purchase')::DOUBLE * 100
             / COUNT(DISTINCT visitor), 1) AS conversion_percent
FROM clicks
GROUP BY ALL
