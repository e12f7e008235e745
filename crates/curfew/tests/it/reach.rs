//! What an Action reaches: its own tenant's server in this process, nothing of the machine's or its network's.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use curfew::actions::{Own, Reach, Reached};
use curfew::config::Typed;
use curfew_actions::{ActionTrigger, FetchRequest, FetchResponse, Host as _};
use curfew_egress::{Egress, Policy, Resolver};
use curfew_http::{App, Settings};
use curfew_model::TenantId;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::support::{BOOTSTRAP, BOOTSTRAP_SECRET, Curfew, LOOPBACK_ISSUER, MANAGEMENT};

/// Every name is this machine's.
#[derive(Debug)]
struct Here;

impl Resolver for Here {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, std::io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
    }
}

/// An execution of this tenant's, and the server that it must not outlive.
struct Given {
    reached: Reached,
    _own: Arc<Own>,
}

fn given(curfew: &Curfew, tenant: TenantId, loopback_issuer: Option<&str>) -> Given {
    let settings = Settings { loopback_issuer: loopback_issuer.map(str::to_owned), ..Settings::default() };
    let own = Own::new(Arc::new(App { core: Arc::clone(&curfew.core), settings, setup: Mutex::new(None) }));
    let egress = Egress::new(Policy::default(), None).expect("the system's authorities");
    let reach = Arc::new(Reach::new(egress.with_resolver(Arc::new(Here)), Arc::clone(&curfew.core.clock)));
    reach.connect(&own);
    Given { reached: Reached { reach, tenant, trigger: ActionTrigger::PostLogin, depth: 0 }, _own: own }
}

impl Given {
    async fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<FetchResponse, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = FetchRequest { method: method.to_owned(), url: url.to_owned(), headers, body };
        self.reached.fetch(request).await.map_err(|error| error.code)
    }

    async fn get(&self, url: &str) -> Result<u16, String> {
        self.ask("GET", url, &[], "").await.map(|answer| answer.status)
    }

    /// A token for the Management API, as the `auth0` package asks for it.
    async fn token(&self, domain: &str) -> String {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", BOOTSTRAP),
            ("client_secret", BOOTSTRAP_SECRET),
            ("audience", MANAGEMENT),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.ask("POST", &format!("https://{domain}/oauth/token"), &form, &body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

in_a_box! {
    fn the_tenants_own_domains_lead_to_the_server_itself(curfew) {
        curfew.under("login.custom.example").await;
        let given = given(&curfew, TenantId(1), None);
        let person = curfew.operator().await.make_person().await;
        for domain in ["id.example", "login.custom.example"] {
            let bearer = format!("Bearer {}", given.token(domain).await);
            let url = format!("https://{domain}/api/v2/users/{}", person.path());
            let headers = [("authorization", &*bearer), ("accept-encoding", "gzip")];
            let answer = given.ask("GET", &url, &headers, "").await.unwrap();
            assert_eq!((answer.status, &*answer.url), (200, &*url));
            let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(answer["email"], person.email);
            // Nobody asks without a right to, also from in here.
            assert_eq!(given.get(&url).await, Ok(401));
        }
        // What a request says of its host is not believed: the address decides.
        let elsewhere = [("host", "nobody.example"), ("connection", "close"), ("content-length", "7")];
        let document = "https://ID.example./.well-known/openid-configuration";
        assert_eq!(given.ask("GET", document, &elsewhere, "").await.unwrap().status, 200);
    }

    fn nothing_of_the_machine_or_of_another_tenant_is_reached(curfew) {
        let own = given(&curfew, TenantId(1), None);
        for url in [
            "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:5432/", "https://[::1]/", "https://10.0.0.1/",
            "https://[::ffff:127.0.0.1]/", "https://somewhere.example/", "http://id.example:8080/",
            // The address of the machine's secrets, in every way in which it can be written.
            "https://169.254.169.254/", "https://169.254.169.254./", "https://2852039166/", "https://0xa9fea9fe/",
            "https://0251.0376.0251.0376/", "https://169.254.43518/", "https://0xa9.0376.43518/", "https://169.254.169.254:8443/",
            "https://\u{ff11}\u{ff16}\u{ff19}.254.169.254/", "https://%31%36%39.254.169.254/", "https://user@169.254.169.254/",
            "https://[::ffff:a9fe:a9fe]/", "https://[::a9fe:a9fe]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::]/",
            "https://[fd00:ec2::254]/", "https://[fe80::a9fe:a9fe]/", "https://metadata.google.internal/", "https://100.100.100.200/",
            "https://192.0.0.192/", "https://0/", "https://127.1/", "https://localhost/", "https://localhost./", "https://a.localhost/",
            "file:///etc/passwd", "ftp://id.example/", "unix:///var/run/docker.sock", "gopher://127.0.0.1:6379/", "ws://127.0.0.1/",
        ] {
            assert_eq!(own.get(url).await, Err("EACCES".to_owned()), "{url}");
        }
        assert_eq!(given(&curfew, TenantId(2), None).get("https://id.example/").await, Err("EACCES".to_owned()));
        for (method, url) in [("CONNECT", "https://id.example/"), ("G T", "https://id.example/"), ("GET", "/users")] {
            assert_eq!(own.ask(method, url, &[], "").await.unwrap_err(), "ERR_INVALID_URL", "{method} {url}");
        }
        let split = [("x-two", "lines\r\nhost: id.example")];
        assert_eq!(own.ask("GET", "https://id.example/", &split, "").await.unwrap_err(), "ERR_INVALID_URL");
    }

    fn a_server_without_an_issuer_is_its_own_at_its_own_port_alone(curfew) {
        let node = curfew.another_configuration(Typed::default()).await;
        let given = given(&node, TenantId(1), Some(LOOPBACK_ISSUER));
        assert_eq!(given.get(&format!("{LOOPBACK_ISSUER}.well-known/jwks.json")).await, Ok(200));
        assert_eq!(given.get("http://localhost:9/.well-known/jwks.json").await, Err("EACCES".to_owned()));
    }
}
