//! Writes every page in every language to a folder, with its headers beside it, to be looked at in a browser:
//! `cargo run -p curfew-http --example pages -- target/pages`.
#![expect(clippy::expect_used, reason = "an example may stop at the first thing that is wrong")]

use std::path::PathBuf;

use curfew_http::pages::{self, Chrome, Lang, Nonce};
use curfew_model::SystemEntropy;

#[path = "../src/pages/samples.rs"]
mod samples;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/pages".to_owned()));
    let accent = std::env::args().nth(2);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for lang in Lang::ALL {
        let nonce = Nonce::generate(&SystemEntropy);
        let chrome = Chrome {
            lang,
            tenant_name: "Acme",
            accent: accent.as_deref(),
            support_url: Some("https://support.example.com/"),
            ..Chrome::new(&nonce)
        };
        samples::each(&samples::PLAIN, &mut |name, page: &dyn pages::Page| {
            let file = folder.join(format!("{name}.{}.html", lang.tag()));
            let headers: String = page
                .headers(&chrome)
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or_default()))
                .collect();
            std::fs::write(file.with_extension("headers"), headers).expect("the file can be written");
            std::fs::write(file, page.render(&chrome)).expect("the file can be written");
        });
    }
    println!("{}", folder.display());
}
