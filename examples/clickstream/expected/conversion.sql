WITH marked AS (
  SELECT *, COALESCE(ts - LAG(ts) OVER by_time > INTERVAL 30 MINUTE, true) AS begins
  FROM clicks
  WINDOW by_time AS (PARTITION BY visitor ORDER BY ts, line)
), numbered AS (
  SELECT *, COUNT(*) FILTER (WHERE begins) OVER (
    PARTITION BY visitor ORDER BY ts, line ROWS UNBOUNDED PRECEDING) AS visit
  FROM marked
), visits AS (
  SELECT MAX(ts) + INTERVAL 30 MINUTE AS ended,
         FIRST(page ORDER BY ts, line) AS landing_page,
         COUNT(*) FILTER (WHERE action = 'purchase') AS purchases
  FROM numbered
  GROUP BY visitor, visit
)
SELECT time_bucket(INTERVAL 2 HOUR, ended) AS window_start,
       time_bucket(INTERVAL 2 HOUR, ended) + INTERVAL 2 HOUR AS window_end,
       landing_page,
       COUNT(*) AS visits,
       COUNT(*) FILTER (WHERE purchases > 0) AS with_purchase
FROM visits
GROUP BY ALL
