-- Load for POST /v1/events/collect, for wrk: every event is new, and happened now.
--
--   EVENTS=1 wrk -t 1 -c 64 -d 20s --latency -s bench/http/collect.lua http://127.0.0.1:7878
--
-- EVENTS is the number of events a request, TOKEN the token. What is not a 202 is counted and said.

local events = tonumber(os.getenv("EVENTS") or "1")
local line = '{"eventId":"%s_%d","eventType":"impression","occurredAt":"%s","campaignId":"camp_%d","adId":"ad_%d",' ..
    '"publisherId":"pub_%d","placementId":"pl_%d","country":"US","deviceType":"mobile","userId":"user_%d",' ..
    '"priceMicros":2500}'
local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("name", os.time() .. "_" .. #threads)
end

function init()
    number, refused = 0, 0
    wrk.method = "POST"
    wrk.path = "/v1/events/collect"
    wrk.headers["Content-Type"] = "application/x-ndjson"
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
end

function request()
    local now, lines = os.date("!%Y-%m-%dT%H:%M:%SZ"), {}
    for i = 1, events do
        number = number + 1
        local n = number
        lines[i] = line:format(name, n, now, n % 40, n % 200, n % 30, n % 90, n % 50000)
    end
    return wrk.format(nil, nil, nil, table.concat(lines, "\n"))
end

function response(status)
    if status ~= 202 then
        refused = refused + 1
    end
end

function done(summary, latency)
    local all = 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("refused")
    end
    local seconds = summary.duration / 1e6
    print(("%d events/s in %d requests/s; p50 %.1f ms, p99 %.1f ms; %d not taken"):format(
        (summary.requests - all) * events / seconds, summary.requests / seconds,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, all))
end
