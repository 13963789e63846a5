WITH marked AS (
  SELECT *, COALESCE(ts - LAG(ts) OVER by_time > INTERVAL 30 MINUTE, true) AS begins
  FROM clicks
  WINDOW by_time AS (PARTITION BY visitor ORDER BY ts, line)
), numbered AS (
  SELECT *, COUNT(*) FILTER (WHERE begins) OVER (
    PARTITION BY visitor ORDER BY ts, line ROWS UNBOUNDED PRECEDING) AS visit
  FROM marked
)
SELECT visitor, MIN(ts) AS window_start, MAX(ts) + INTERVAL 30 MINUTE AS window_end,
       LAST(page ORDER BY ts, line) FILTER (WHERE action = 'cart') AS in_cart
FROM numbered
GROUP BY visitor, visit
HAVING COUNT(*) FILTER (WHERE action = 'cart') > 0
   AND COUNT(*) FILTER (WHERE action = 'purchase') = 0
