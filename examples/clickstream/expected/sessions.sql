-- A click begins a visit when none of the visitor's came in the 30 minutes before it.
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
       COUNT(*) AS clicks,
       FIRST(page ORDER BY ts, line) AS landing_page,
       LAST(page ORDER BY ts, line) AS exit_page,
       COUNT(*) FILTER (WHERE action = 'purchase') AS purchases,
       COALESCE(ROUND(SUM(amount), 2), 0) AS revenue
FROM numbered
GROUP BY visitor, visit
