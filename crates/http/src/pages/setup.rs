//! The first run: making the first administrator, and handing out the first credentials.

use askama::Template;
use curfew_model::Secret;

use super::fields::{Faults, FormFault, PasswordRules};
use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The page behind the set-up link. It posts `token`, `csrf`, `email` and `password`.
#[derive(Clone)]
pub struct SetupPage<'a> {
    /// Where the form goes, on our own origin.
    pub action_url: &'a str,
    /// The token of the set-up link.
    pub token: &'a Secret<String>,
    /// The value against forged posts.
    pub csrf: &'a str,
    /// What stands in the email field.
    pub email: &'a str,
    /// What a password must have.
    pub password_rules: PasswordRules,
    /// What was wrong with the form.
    pub errors: &'a [FormFault],
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupTemplate<'a> {
    page: &'a SetupPage<'a>,
    faults: Faults,
    rules: Vec<String>,
    described: Option<&'static str>,
    focus: &'static str,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for SetupPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let t = chrome.lang.texts();
        let faults = Faults::new(self.errors, t);
        let rules = self.password_rules.texts(t);
        render(&SetupTemplate {
            page: self,
            described: faults.described(&rules),
            focus: faults.focus(self.email, None),
            faults,
            rules,
            frame: chrome.frame(),
            t,
        })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Cut).image(chrome.logo_url).own_form().headers()
    }
}

/// The answer to [`SetupPage`]: the credentials of the first applications, shown this once.
#[derive(Clone)]
pub struct SetupDonePage<'a> {
    /// The host under which SDKs reach the server: `domain` in their configuration.
    pub domain: &'a str,
    /// The client id of the machine-to-machine application.
    pub client_id: &'a str,
    /// Its secret.
    pub client_secret: &'a Secret<String>,
    /// The Management API's audience.
    pub audience: &'a str,
    /// The client id of the sample single-page application.
    pub spa_client_id: &'a str,
    /// The origin that application is registered for, such as `http://localhost:3000`.
    pub spa_origin: &'a str,
    /// Where to go from here, on our own origin.
    pub continue_url: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "setup_done.html")]
struct SetupDoneTemplate<'a> {
    page: &'a SetupDonePage<'a>,
    script: &'static str,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for SetupDonePage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        render(&SetupDoneTemplate {
            page: self,
            script: include_str!("../../templates/setup_done.js"),
            frame: chrome.frame(),
            t: chrome.lang.texts(),
        })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Cut).script().image(chrome.logo_url).headers()
    }
}
