//! TLS to the server, when the connection string asks for it.

use curfew_model::Failure;
use curfew_store::executor::Database;
use curfew_store::{Engine, Store, StoreOptions};
use curfew_testkit::TestDatabase;
use curfew_testkit::proxy::Proxy;

use crate::notes;

struct Server {
    database: TestDatabase,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let database = TestDatabase::new(Engine::Postgres);
        let Database::Postgres(url) = database.options().database else { panic!("PostgreSQL is a server") };
        let proxy = Proxy::to_postgres_with_tls(url.expose()).await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("roots.pem"), proxy.certificate().expect("it has one"))
            .expect("a file");
        Self { database, proxy, folder }
    }

    async fn open(&self, host: &str, more: &str) -> Result<Store, Failure> {
        let url = self.proxy.url().replace("host=127.0.0.1", &format!("host={host} hostaddr=127.0.0.1"));
        let options = StoreOptions::postgres(format!("{url} {more}"));
        Store::open(StoreOptions { database: options.database, ..self.database.options() }).await
    }

    fn roots(&self) -> String {
        format!("sslrootcert={}", self.folder.path().join("roots.pem").display())
    }
}

#[tokio::test]
async fn the_servers_certificate_is_checked_with_its_name() {
    let server = Server::start().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let store = server.open("localhost", &format!("sslmode={mode} {}", server.roots())).await;
        let store = store.expect("the certificate is good for that name");
        if mode == "require" {
            notes::create(&store).await;
        }
        assert_eq!(notes::count(&store).await, 0);
        let other = server.open("elsewhere", &format!("sslmode={mode} {}", server.roots())).await;
        assert!(matches!(other, Err(Failure::Storage { .. })), "{other:?}");
        let untrusted = server.open("localhost", &format!("sslmode={mode} sslrootcert=system")).await;
        assert!(matches!(untrusted, Err(Failure::Storage { .. })), "{untrusted:?}");
    }
}

#[tokio::test]
async fn roots_that_cannot_be_read_are_a_failure() {
    let server = Server::start().await;
    let missing = server.folder.path().join("missing.pem");
    let empty = server.folder.path().join("empty.pem");
    std::fs::write(&empty, "none here").expect("a file");
    for file in [missing, empty] {
        let refused =
            server.open("localhost", &format!("sslmode=require sslrootcert={}", file.display())).await;
        let Err(failure) = refused else { panic!("{}", file.display()) };
        let said = std::error::Error::source(&failure).expect("it says why").to_string();
        assert!(said.contains(".pem"), "{said}");
    }
}
