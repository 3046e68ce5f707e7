-- What wrk sends, and one line of what came back.
wrk.method = "POST"
wrk.path = "/orders"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"productId":"tea","quantity":2}'

done = function(summary, latency)
  local failed = summary.errors
  local wrong = failed.status + failed.connect + failed.read + failed.write + failed.timeout
  print(string.format("counted %d %d %d %d %d", summary.requests, summary.duration, wrong,
    latency:percentile(50), latency:percentile(99)))
end
