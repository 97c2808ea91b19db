//! Reports over HTTP say what `adsum report` says of the same data: rows, pages, streams, and the client.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_ipc::reader::StreamReader;
use serde_json::Value;

use super::server::Server;
use crate::events::{Event, Random, text};
use crate::place::{Place, Row};

/// Events of three days around the night in which London's clocks go forward, over campaigns, countries and ads, some
/// without a country; imported.
pub fn place() -> Place {
    let place = Place::new();
    let mut random = Random::new(7);
    let types = ["impression", "impression", "impression", "click", "conversion"];
    let events: Vec<Event> = (0..3000)
        .map(|i| {
            let minute = random.below(3 * 1440);
            let (day, hour, minute) = (28 + minute / 1440, minute / 60 % 24, minute % 60);
            let event = Event::new(&format!("e{i}"))
                .with("eventType", types[random.below(5) as usize])
                .with("campaignId", &format!("camp_{}", random.below(4)))
                .with("adId", &format!("ad_{}", random.below(9)))
                .with("userId", &format!("user_{}", random.below(500)))
                .with_json("priceMicros", &random.below(5000).to_string())
                .at(&format!("2026-03-{day}T{hour:02}:{minute:02}:07Z"));
            match random.below(4) {
                0 => event,
                n => event.with("country", ["US", "DE", "NP"][n as usize - 1]),
            }
        })
        .collect();
    place.write("events.ndjson", text(&events));
    place.write("euro.toml", "[campaigns.camp_2]\nbillable = \"cpc\"\ncurrency = \"EUR\"\n[campaigns.quiet]\n");
    assert_eq!(place.import(&["--config", "euro.toml", "events.ndjson"]).figures.counted, 3000);
    place
}

/// Rows without how fresh they were, which is of the moment.
fn of_no_moment(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        assert!(row.as_object_mut().unwrap().remove("freshnessSeconds").unwrap().is_u64());
    }
    rows
}

/// Every page of a question, one after the other.
#[track_caller]
fn pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = server.get(&format!("{path}&limit={limit}{cursor}")).expect(200);
        let page = answer["rows"].as_array().unwrap().clone();
        assert!(page.len() <= limit);
        rows.extend(page);
        match answer["nextCursor"].as_str() {
            None => return rows,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

struct Question {
    granularity: &'static str,
    zone: &'static str,
    by: &'static str,
    filters: &'static [&'static str],
    from: &'static str,
    to: &'static str,
}

/// Whole days of a zone, or of UTC.
const QUESTIONS: [Question; 9] = {
    const ALL: Question = Question {
        granularity: "hour",
        zone: "UTC",
        by: "campaignId",
        filters: &[],
        from: "2026-03-28",
        to: "2026-03-31",
    };
    [
        ALL,
        Question { granularity: "bucket", by: "campaignId,country", ..ALL },
        Question { granularity: "minute", by: "campaignId,publisherId,country,deviceType", ..ALL },
        Question { granularity: "day", zone: "Europe/London", by: "country", to: "2026-03-30", ..ALL },
        Question { zone: "Asia/Kathmandu", filters: &["country=US", "country=", "campaignId=camp_1"], ..ALL },
        Question { granularity: "day", zone: "Asia/Kathmandu", by: "adId,country", ..ALL },
        Question { zone: "Europe/London", by: "campaignId,adId", filters: &["adId=ad_3", "adId=ad_4"], ..ALL },
        Question { granularity: "day", by: "campaignId", filters: &["country=XX"], ..ALL },
        Question { granularity: "range", by: "campaignId,country", from: "2026-03-28T10:17:00Z", ..ALL },
    ]
};

impl Question {
    fn args(&self) -> Vec<&'static str> {
        let mut args = vec!["report", "--config", "euro.toml", "--granularity", self.granularity, "--tz", self.zone];
        args.extend(["--by", self.by, "--from", self.from, "--to", self.to]);
        args.extend(self.filters.iter().flat_map(|f| ["--filter", f]));
        args
    }

    fn path(&self) -> String {
        let Self { granularity, zone, by, filters, from, to } = self;
        let filters: String = filters.iter().map(|f| format!("&filter.{f}")).collect();
        format!("/v1/reports?granularity={granularity}&timeZone={zone}&dimensions={by}&from={from}&to={to}{filters}")
    }
}

fn rows_of(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn http_and_command_line_say_the_same() {
    let place = place();
    let run =
        |question: &Question, format: &str| place.run(&[&question.args()[..], &["--format", format]].concat()).ok();
    let local: Vec<_> = QUESTIONS.iter().map(|q| (run(q, "ndjson"), run(q, "csv"), run(q, "table"))).collect();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    for (question, (ndjson, csv, table)) in QUESTIONS.iter().zip(&local) {
        let (path, want) = (question.path(), rows_of(ndjson));
        assert_eq!(want.is_empty(), question.filters == ["country=XX"], "{path}");
        for limit in [7, 1000, 10_000] {
            if limit > 7 || want.len() < 400 {
                assert_eq!(of_no_moment(&pages(&server, &path, limit)), of_no_moment(&want), "{path}");
            }
        }
        if want.len() < 50 {
            assert_eq!(of_no_moment(&pages(&server, &path, 1)), of_no_moment(&want), "{path}");
        }
        // The last column is how fresh it is.
        let cut = |text: &str| -> Vec<String> {
            text.split("\r\n").map(|l| l.rsplit_once(',').map_or(l, |(front, _)| front).to_owned()).collect()
        };
        let answer = server.request_as(Some(&server.token), "GET", &path, &[("accept", "text/csv")], None);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/csv; charset=utf-8")));
        assert!(answer.header("adsum-data-revision").unwrap().starts_with("rev_"));
        assert_eq!(cut(&answer.text()), cut(csv), "{path}");

        let url = ["--url", &server.url, "--token-file", "token"];
        let remote = |format: &str| place.run(&[&question.args()[..], &url, &["--format", format]].concat()).ok();
        assert_eq!(of_no_moment(&rows_of(&remote("ndjson"))), of_no_moment(&want), "{path}");
        assert_eq!(cut(&remote("csv")), cut(csv), "{path}");
        let json: Value = serde_json::from_str(&remote("json")).unwrap();
        assert_eq!(of_no_moment(json["rows"].as_array().unwrap()), of_no_moment(&want), "{path}");
        assert_eq!(json["meta"]["timeZone"], question.zone);
        let lines = |text: &str| -> Vec<String> {
            let table = text.lines().take_while(|line| !line.contains(": "));
            table.map(|line| line.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()).collect()
        };
        assert!(want.is_empty() || lines(&remote("table")) == lines(table), "{path}");
    }
    let remote = ["report", "--url", &server.url, "--token-file", "token"];
    let last = ["--last", "24h", "--granularity", "day", "--format", "ndjson"];
    assert_eq!(
        place.run(&[&remote[..], &last].concat()).ok(),
        "",
        "the last day has no events, and its ends are where days begin"
    );
    place.run(&remote).fails(1, &["--from", "--last"]);
    place.run(&[&remote[..], &last, &["--by", "mood"]].concat()).fails(1, &["400", "unknown_dimension"]);
    place.run(&[&remote[..3], &last].concat()).fails(1, &["401", "token_missing"]);
    place.run(&["report"]).fails(1, &["in use by another adsum process", "--url"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_range_is_one_bucket_with_the_sums_of_its_minutes() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let ask = |granularity: &str| {
        let range = "from=2026-03-28T23:58:00Z&to=2026-03-29T03:01:00Z";
        pages(&server, &format!("/v1/reports?granularity={granularity}&dimensions=adId&{range}"), 1000)
    };
    let mut want: BTreeMap<(String, String), [i64; 3]> = BTreeMap::new();
    let add = |sums: &mut BTreeMap<_, [i64; 3]>, row: &Value| {
        let key = ["adId", "currency"].map(|name| row[name].as_str().unwrap().to_owned());
        let to = sums.entry(key.into()).or_default();
        for (to, name) in to.iter_mut().zip(["impressions", "clicks", "spendMicros"]) {
            *to += row[name].as_i64().unwrap();
        }
    };
    ask("minute").iter().for_each(|row| add(&mut want, row));
    let rows = ask("range");
    assert!(rows.len() > 9 && rows.iter().all(|row| row["bucketStart"] == "2026-03-28T23:58:00Z"), "{rows:?}");
    let mut got = BTreeMap::new();
    rows.iter().for_each(|row| add(&mut got, row));
    assert_eq!((got.len(), got), (rows.len(), want));
}

#[test]
fn rows_in_the_order_of_a_column() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let path = "/v1/reports?granularity=day&dimensions=adId,country&from=2026-03-28&to=2026-03-31";
    let all = server.get(&format!("{path}&limit=10000")).expect(200)["rows"].as_array().unwrap().clone();
    for (order, descending, name) in [
        ("clicks", false, "clicks"),
        ("-clicks", true, "clicks"),
        ("-ctr", true, "ctr"),
        ("cvr", false, "cvr"),
        ("country", false, "country"),
        ("-currency", true, "currency"),
        ("-bucketStart", true, "bucketStart"),
    ] {
        // Null first, numbers and texts by value; the sort is stable, so ties stay by time and keys.
        let key = |row: &Value| match &row[name] {
            Value::Null => (0, 0, String::new()),
            Value::String(text) => (1, 0, text.clone()),
            number => (1, (number.as_f64().unwrap() * 1e6).round() as i64, String::new()),
        };
        let mut want = all.clone();
        want.sort_by(|a, b| if descending { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
        for limit in [7, 1000] {
            let got = pages(&server, &format!("{path}&orderBy={order}"), limit);
            assert_eq!(of_no_moment(&got), of_no_moment(&want), "{order} {limit}");
        }
    }
    let first = server.get(&format!("{path}&orderBy=-clicks&limit=1")).expect(200);
    assert_eq!(first["rows"].as_array().unwrap().len(), 1);
}

/// Copies a folder of files and folders.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_is_folded_but_not_committed_is_in_every_answer() {
    let place = place();
    let store = place.path("data/store");
    copy(&store, &place.path("older"));
    let more: Vec<Event> = (0..50)
        .map(|i| {
            let event = Event::new(&format!("late_{i}")).with("campaignId", ["camp_1", "camp_new"][i % 2]);
            event.with("adId", "ad_3").with("userId", &format!("new_{i}")).at("2026-03-29T12:00:00Z")
        })
        .collect();
    place.write("more.ndjson", text(&more));
    place.import(&["--config", "euro.toml", "more.ndjson"]);
    let question = &QUESTIONS[5];
    let want = rows_of(&place.run(&[&question.args()[..], &["--format", "ndjson"]].concat()).ok());
    // The store goes back to before the second file: the server folds it out of the log and commits it later.
    std::fs::remove_dir_all(&store).unwrap();
    copy(&place.path("older"), &store);
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let pipeline = server.get("/v1/pipeline").expect(200);
    let offset = |name: &str| pipeline[name]["offset"].as_u64().unwrap();
    assert!(offset("committedThrough") + 50 <= offset("through"), "{pipeline}");
    assert_eq!(of_no_moment(&pages(&server, &question.path(), 1000)), of_no_moment(&want));
    let range = "from=2026-03-29&to=2026-03-30&granularity=day";
    let new = server.get(&format!("/v1/reports/campaigns/camp_new?{range}")).expect(200);
    assert_eq!(new["rows"][0]["impressions"], 25);
    let ledger = server.get("/v1/conservation?source=import").expect(200);
    assert_eq!((&ledger["sums"]["counted"], &ledger["balances"]), (&Value::from(3050), &Value::Bool(true)));
    let users = server.get("/v1/ads/ad_3/distinct_users?from=2026-03-29T12:00:00Z&to=2026-03-29T12:05:00Z").expect(200);
    assert!(users["windows"][0]["distinctUsers"].as_i64().unwrap() >= 48, "{users}");
}

#[test]
fn a_reader_that_leaves_a_stream_holds_up_nobody() {
    use std::io::{Read, Write};
    let place = Place::new();
    let events: Vec<Event> = (0..20_000)
        .map(|i| Event::new(&format!("e{i}")).with("campaignId", &format!("camp_{i}_{}", "x".repeat(200))))
        .collect();
    place.write("events.ndjson", text(&events));
    place.import(&["events.ndjson"]);
    let server = Server::start(&place, &[]);
    let path = "/v1/reports?from=2026-11-20&to=2026-11-21";
    // More than may run at a time.
    for _ in 0..8 {
        let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
        let token = format!("Authorization: Bearer {}\r\n", server.token);
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/csv\r\n{token}\r\n").unwrap();
        let mut head = [0; 64];
        socket.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"));
    }
    let whole = server.request_as(Some(&server.token), "GET", path, &[("accept", "text/csv")], None);
    assert_eq!(whole.text().split_terminator("\r\n").count(), 20_001);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn one_campaign_is_a_filter() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let range = "from=2026-03-28&to=2026-03-31&granularity=day";
    let one = server.get(&format!("/v1/reports/campaigns/camp_2?{range}&dimensions=country")).expect(200);
    let all = server.get(&format!("/v1/reports?{range}&dimensions=country&filter.campaignId=camp_2")).expect(200);
    assert_eq!(of_no_moment(one["rows"].as_array().unwrap()), of_no_moment(all["rows"].as_array().unwrap()));
    let row = Row(one["rows"][0].as_object().unwrap().clone());
    assert_eq!(row.text("currency"), "EUR");
    for name in ["invalidImpressions", "invalidClicks", "invalidConversions", "invalidSpendMicros"] {
        assert_eq!(row.number(name), 0);
    }
    assert_eq!((&row.0["isFinalized"], &row.0["adjusted"]), (&Value::Bool(false), &Value::Bool(false)));
    let (clicks, impressions) = (row.number("clicks"), row.number("impressions"));
    let millionths = (clicks * 2_000_000 + impressions) / (impressions * 2);
    assert_eq!(
        row.0["ctr"].to_string(),
        format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000).trim_end_matches('0').trim_end_matches('.')
    );
    let meta = &one["meta"];
    assert_eq!((&meta["sources"], &meta["finalizedThrough"]), (&serde_json::json!(["hot"]), &Value::Null));
    assert_eq!(meta["dataRevision"], meta["firstPageRevision"]);
    assert!(one["nextCursor"].is_null());
    // Without dimensions a row is a bucket and a currency; declared but silent is there and empty.
    let rows = server.get(&format!("/v1/reports/campaigns/camp_1?{range}")).expect(200)["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    let quiet = server.get(&format!("/v1/reports/campaigns/quiet?{range}")).expect(200);
    assert_eq!(quiet["rows"], serde_json::json!([]));
}

#[test]
fn arrow_holds_what_json_holds() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let path = "/v1/reports?granularity=minute&dimensions=campaignId,country&from=2026-03-28&to=2026-03-31";
    let rows = pages(&server, path, 10_000);
    let accept = [("accept", "application/vnd.apache.arrow.stream")];
    let answer = server.request_as(Some(&server.token), "GET", path, &accept, None);
    assert_eq!(answer.header("content-type"), Some(accept[0].1));
    let mut at = 0;
    for batch in StreamReader::try_new(answer.body.as_slice(), None).unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            for name in ["impressions", "clicks", "conversions", "spendMicros", "invalidClicks"] {
                let value = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row);
                assert_eq!(Some(value), rows[at][name].as_i64(), "{name} of row {at}");
            }
            for name in ["campaignId", "country", "currency", "revision"] {
                let texts = batch.column_by_name(name).unwrap().as_string::<i32>();
                assert_eq!(texts.iter().nth(row).unwrap(), rows[at][name].as_str(), "{name} of row {at}");
            }
            at += 1;
        }
    }
    assert_eq!(at, rows.len());
    assert!(at > 2000, "{at}");
}

#[test]
fn a_cell_is_never_a_formula() {
    let place = Place::new();
    let names = ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "plain, with a comma", "say \"x\""];
    let events: Vec<Event> =
        names.iter().enumerate().map(|(i, name)| Event::new(&format!("e{i}")).with("campaignId", name)).collect();
    place.write("events.ndjson", text(&events));
    place.import(&["events.ndjson"]);
    let server = Server::start(&place, &[]);
    let path = "/v1/reports?from=2026-11-20&to=2026-11-21";
    let answer = server.request_as(Some(&server.token), "GET", path, &[("accept", "text/csv")], None);
    let text = answer.text();
    for cell in
        ["\"'=cmd|' /C calc'!A0\"", "\"'+1\"", "\"'-1\"", "\"'@sum\"", "\"plain, with a comma\"", "\"say \"\"x\"\"\""]
    {
        assert!(text.contains(&format!(",{cell},USD,1,")), "{cell} in {text}");
    }
    let rows = server.get(path).expect(200)["rows"].clone();
    let mut got: Vec<&str> = rows.as_array().unwrap().iter().map(|r| r["campaignId"].as_str().unwrap()).collect();
    let mut want = names.to_vec();
    got.sort_unstable();
    want.sort_unstable();
    assert_eq!(got, want, "JSON holds them as they are");
}
