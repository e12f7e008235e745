//! Where a request comes from, as Actions are told, out of databases in MaxMind's format that the test writes itself.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use curfew::config::Typed;
use curfew::geography::Databases;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::signup::body;
use crate::support::{Answer, Application, Curfew, Double, ISSUER};

/// A database of IPv4 networks, as <https://maxmind.github.io/MaxMind-DB/> has it: a tree of 24-bit records over the bits of
/// addresses, the records' data, and what the file is.
fn database(networks: &[(&str, u8, Value)]) -> Vec<u8> {
    // A child is another node, data, or nothing.
    #[derive(Clone, Copy)]
    enum Child {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let mut nodes = vec![[Child::Nothing; 2]];
    let mut data = Vec::new();
    for (address, prefix, value) in networks {
        let bits = u32::from(address.parse::<Ipv4Addr>().unwrap());
        let mut at = 0;
        for depth in 0..*prefix {
            let side = (bits >> (31 - depth) & 1) as usize;
            if depth + 1 == *prefix {
                nodes[at][side] = Child::Data(data.len());
            } else if let Child::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([Child::Nothing; 2]);
                nodes[at][side] = Child::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
        encode(&mut data, value);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for child in nodes.into_iter().flatten() {
        let record = match child {
            Child::Nothing => count,
            Child::Node(node) => node,
            Child::Data(offset) => count + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    control(&mut file, 7, 9);
    for (name, value) in
        [("database_type", json!("Test")), ("description", json!({})), ("languages", json!(["en"]))]
    {
        encode(&mut file, &json!(name));
        encode(&mut file, &value);
    }
    let numbers = [
        ("node_count", 6, u64::try_from(count).unwrap()),
        ("record_size", 5, 24),
        ("ip_version", 5, 4),
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("build_epoch", 9, 1_700_000_000),
    ];
    for (name, kind, number) in numbers {
        encode(&mut file, &json!(name));
        whole(&mut file, kind, number);
    }
    file
}

/// The byte, or two, or three, that say what comes and how long it is.
fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (short, long) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    let short = u8::try_from(short).unwrap();
    if kind < 8 {
        out.push(kind << 5 | short);
    } else {
        out.extend_from_slice(&[short, kind - 7]);
    }
    out.extend(long.map(|long| u8::try_from(long).unwrap()));
}

fn whole(out: &mut Vec<u8>, kind: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[number.leading_zeros() as usize / 8..];
    control(out, kind, bytes.len());
    out.extend_from_slice(bytes);
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => {
            control(out, 2, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(number) if number.is_u64() => whole(out, 6, number.as_u64().unwrap()),
        Value::Number(number) => {
            control(out, 3, 8);
            out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
        }
        Value::Object(map) => {
            control(out, 7, map.len());
            for (name, value) in map {
                encode(out, &json!(name));
                encode(out, value);
            }
        }
        Value::Array(list) => {
            control(out, 11, list.len());
            list.iter().for_each(|value| encode(out, value));
        }
        other => panic!("{other} is in no database"),
    }
}

fn files(folder: &Path) -> Typed {
    let (places, systems) = (folder.join("places.mmdb"), folder.join("systems.mmdb"));
    let zurich = json!({
        "city": {"names": {"de": "Zürich", "en": "Zurich"}},
        "continent": {"code": "EU"},
        "country": {"iso_code": "CH", "names": {"en": "Switzerland"}},
        "location": {"latitude": 47.3769, "longitude": -8.5, "time_zone": "Europe/Zurich"},
        "subdivisions": [{"iso_code": "ZH", "names": {"en": "Zurich"}}, {"iso_code": "X"}],
    });
    // A database of countries knows no more.
    let somewhere = json!({"country": {"iso_code": "NZ", "names": {"en": "New Zealand"}}});
    let networks = [("203.0.113.0", 25, zurich), ("203.0.113.128", 25, somewhere)];
    std::fs::write(&places, database(&networks)).unwrap();
    let system = json!({"autonomous_system_number": 64500, "autonomous_system_organization": "Example"});
    std::fs::write(&systems, database(&[("203.0.0.0", 16, system)])).unwrap();
    Typed {
        issuer: Some(ISSUER.to_owned()),
        geoip_database: Some(places),
        asn_database: Some(systems),
        ..Typed::default()
    }
}

async fn sign_up(node: &Curfew, spa: &Application, email: &str, forwarded: &str) -> Answer {
    let request = Request::post("/dbconnections/signup")
        .header(CONTENT_TYPE, "application/json")
        .header("x-forwarded-for", forwarded)
        .body(Body::from(body(spa, json!({ "email": email })).to_string()));
    node.send(request.unwrap()).await.expect(200)
}

in_a_box! {
    fn an_action_is_told_where_a_request_comes_from(curfew) {
        let folder = TempDir::with_prefix("curfew-places-").unwrap();
        let spa = curfew.operator().await.make_spa().await;
        let double = Double::default();
        double.asks("one", &[]);
        double.bound(&curfew, "pre-user-registration", &["one"]).await;
        let proxied = Typed { trust_proxy: Some("loopback".to_owned()), ..files(folder.path()) };
        let node = curfew.another_node_of(Arc::new(double.clone()), proxied).await;
        let told = |email: &'static str, address: &'static str| {
            let (node, spa, double) = (&node, &spa, &double);
            async move {
                sign_up(node, spa, email, address).await;
                let request = double.event()["request"].clone();
                assert_eq!(request["ip"], address);
                (request["geoip"].clone(), request["asn"].clone())
            }
        };
        let zurich = json!({
            "cityName": "Zurich", "continentCode": "EU", "countryCode": "CH", "countryCode3": "CHE", "countryName": "Switzerland",
            "latitude": 47.3769, "longitude": -8.5, "subdivisionCode": "ZH", "subdivisionName": "Zurich", "timeZone": "Europe/Zurich",
        });
        assert_eq!(told("a@example.com", "203.0.113.7").await, (zurich, json!("64500")));
        let somewhere = json!({"countryCode": "NZ", "countryCode3": "NZL", "countryName": "New Zealand"});
        assert_eq!(told("b@example.com", "203.0.113.200").await, (somewhere, json!("64500")));
        for (email, unknown) in [("c@example.com", "198.51.100.1"), ("d@example.com", "2001:db8::1")] {
            assert_eq!(told(email, unknown).await, (json!({}), json!("")));
        }
        // Nobody else says where they are.
        let node = curfew.another_node_of(Arc::new(double.clone()), files(folder.path())).await;
        sign_up(&node, &spa, "e@example.com", "203.0.113.7").await;
        let request = double.event()["request"].clone();
        assert_eq!((&request["ip"], &request["geoip"]), (&json!("127.0.0.1"), &json!({})));
    }
}

#[test]
fn what_is_no_database_stops_the_start() {
    let folder = TempDir::with_prefix("curfew-places-").unwrap();
    let opened = |typed: Typed| Databases::open(&typed.resolve().unwrap()).map_err(|error| error.to_string());
    assert!(opened(files(folder.path())).is_ok() && opened(Typed::default()).is_ok());
    let (missing, other) = (folder.path().join("missing.mmdb"), folder.path().join("other.mmdb"));
    std::fs::write(&other, b"something else").unwrap();
    let missing = Typed { geoip_database: Some(missing), ..Typed::default() };
    let error = opened(missing).unwrap_err();
    assert!(
        error.starts_with("CURFEW_GEOIP_DATABASE: cannot read ") && error.contains("missing.mmdb"),
        "{error}"
    );
    let other = Typed { asn_database: Some(other), ..Typed::default() };
    let error = opened(other).unwrap_err();
    assert!(
        error.starts_with("CURFEW_ASN_DATABASE: ") && error.contains("other.mmdb is no database"),
        "{error}"
    );
}
