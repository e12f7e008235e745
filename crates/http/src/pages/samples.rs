//! Every page in every state that looks different, for the tests and for the example that writes them out.

use crate::pages::{
    Back, ConsentPage, ConsentScope, Destination, ErrorKind, ErrorPage, FormFault, FormPostPage,
    LoggedOutPage, LoginError, LoginPage, LogoutConfirmPage, Origin, Page, PasswordRules, SetupDonePage,
    SetupPage, SigningOutPage, SignupPage, WebMessagePage,
};
use curfew_model::Secret;

/// What others choose and our pages show.
pub(crate) struct Words<'a> {
    /// A client's name.
    pub(crate) client: &'a str,
    /// A person's email address, or what was typed in its place.
    pub(crate) person: &'a str,
    /// A resource server's name.
    pub(crate) resource_server: &'a str,
    /// A scope.
    pub(crate) scope: &'a str,
    /// A longer text: a scope's description, an error's, a parameter.
    pub(crate) text: &'a str,
}

/// Words as they should be.
pub(crate) const PLAIN: Words<'static> = Words {
    client: "Acme Travel",
    person: "ada@example.com",
    resource_server: "Messages API",
    scope: "delete:messages",
    text: "Read your messages",
};

/// Calls `visit` with each sample and its name.
pub(crate) fn each(words: &Words<'_>, visit: &mut dyn FnMut(&'static str, &dyn Page)) {
    let (state, csrf) = ("c3RhdGU.sealed", "csrf-value");
    let callback = Destination::parse("http://localhost:3000/callback?from=curfew").expect("a URL");
    let origin = Origin::parse("http://localhost:3000").expect("an origin");
    let ends = ["http://localhost:3000/callback", "https://app.example.com/home"];
    let back = Some(Back { url: &callback, client_name: Some(words.client) });

    let login = LoginPage {
        action_url: "/u/login",
        state,
        csrf,
        client_name: Some(words.client),
        signup_url: Some("/u/signup?state=c3RhdGU.sealed"),
        reset_url: Some("/u/reset-password?state=c3RhdGU.sealed"),
        form_ends_at: &ends,
        ..LoginPage::default()
    };
    visit("login", &login);
    visit(
        "login-known",
        &LoginPage { username_prefill: words.person, remember: Some(true), ..login.clone() },
    );
    for (name, error) in [
        ("login-wrong", LoginError::WrongCredentials),
        ("login-busy", LoginError::Busy),
        ("login-expired", LoginError::Expired),
        ("login-attempts", LoginError::TooManyAttempts),
        ("login-unavailable", LoginError::ConnectionUnavailable),
    ] {
        let page = LoginPage {
            username_prefill: words.person,
            username_allowed: true,
            error: Some(error),
            ..login.clone()
        };
        visit(name, &page);
    }
    visit("login-bare", &LoginPage { action_url: "/u/login", state, csrf, ..LoginPage::default() });

    let signup = SignupPage {
        action_url: "/u/signup",
        state,
        csrf,
        client_name: Some(words.client),
        login_url: Some("/u/login?state=c3RhdGU.sealed"),
        form_ends_at: &ends,
        ..SignupPage::default()
    };
    visit("signup", &signup);
    let wrong = SignupPage {
        email: words.person,
        username: Some(words.scope),
        password_rules: PasswordRules::ThreeOfFourNoRepeats(10),
        errors: &[FormFault::EmailInvalid, FormFault::UsernameInvalid, FormFault::PasswordTooWeak],
        ..signup.clone()
    };
    visit("signup-wrong", &wrong);
    let refused = SignupPage { email: words.person, errors: &[FormFault::NotPossible], ..signup };
    visit("signup-refused", &refused);
    visit("signup-told", &SignupPage { message: Some(words.client), ..refused });

    let scopes = [
        ConsentScope { name: "openid", description: None },
        ConsentScope { name: "profile", description: None },
        ConsentScope { name: "email", description: Some(" ") },
        ConsentScope { name: "read:messages", description: Some(words.text) },
        ConsentScope { name: words.scope, description: None },
        ConsentScope { name: "offline_access", description: None },
    ];
    let consent = ConsentPage {
        action_url: "/u/consent",
        state,
        csrf,
        client_name: words.client,
        user_email: words.person,
        scopes: &scopes,
        resource_server_name: Some(words.resource_server),
        returns_to: Some(&callback),
        form_ends_at: &ends,
        ..ConsentPage::default()
    };
    visit("consent", &consent);
    visit("consent-no-scopes", &ConsentPage { scopes: &[], resource_server_name: None, ..consent });

    for (name, kind, error, description) in [
        ("error-request", ErrorKind::Request, Some("invalid_request"), Some("Callback URL mismatch.")),
        ("error-expired", ErrorKind::Expired, Some("invalid_request"), Some(words.text)),
        ("error-denied", ErrorKind::Denied, Some("access_denied"), Some(words.person)),
        ("error-busy", ErrorKind::Busy, None, None),
        ("error-not-found", ErrorKind::NotFound, None, None),
        ("error-setup-link", ErrorKind::SetupLink, None, None),
        ("error-server", ErrorKind::Server, Some("server_error"), None),
    ] {
        let request_id = Some("01JD5Q2W7Y3K8R9TFV6XMB4HNE");
        visit(name, &ErrorPage { kind, error, description, request_id, back, frames: &[] });
    }
    visit("error-bare", &ErrorPage::default());
    let frames =
        ["https://app.example.com/out?iss=a&sid=b", "http://localhost:3000/out?sid=b", "http://[::1]:3000/"]
            .map(|text| Destination::parse(text).expect("a URL"));
    visit("error-frames", &ErrorPage { kind: ErrorKind::Request, frames: &frames, ..ErrorPage::default() });

    visit("logged-out", &LoggedOutPage::default());
    visit("logged-out-back", &LoggedOutPage { back, frames: &[] });
    visit("logged-out-frames", &LoggedOutPage { back: None, frames: &frames });
    visit("signing-out", &SigningOutPage { to: &callback, frames: &frames });
    let confirm = LogoutConfirmPage {
        action_url: "/u/logout",
        state,
        csrf,
        user_email: Some(words.person),
        form_ends_at: &ends,
    };
    visit("logout-confirm", &confirm);

    let token = Secret::new("one-time-token".to_owned());
    let setup = SetupPage {
        action_url: "/setup",
        token: &token,
        csrf,
        email: "",
        password_rules: PasswordRules::default(),
        errors: &[],
    };
    visit("setup", &setup);
    visit(
        "setup-wrong",
        &SetupPage { email: words.person, errors: &[FormFault::PasswordTooCommon], ..setup },
    );
    let client_secret =
        Secret::new("uV3mQ8xN1rT6yB0kH5dW2sL9pC4gJ7fZ_aE-oXiMvRqYtUwKhGnDbSjPcLzFe1A0".to_owned());
    let done = SetupDonePage {
        domain: "localhost:8080",
        client_id: "kJ2vN8qRt5Wx1Yz4Bc7Df0Gh3Lm6Ps9T",
        client_secret: &client_secret,
        audience: "http://localhost:8080/api/v2/",
        spa_client_id: "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0iL",
        spa_origin: "http://localhost:3000",
        continue_url: None,
    };
    visit("setup-done", &done);

    let params = [("code", "the-code"), ("state", words.text), ("id_token", "a.b.c")];
    let form_post = FormPostPage { redirect_uri: &callback, params: &params, form_ends_at: &[] };
    visit("form-post", &form_post);
    let web_origins = ["http://localhost:3000", "https://*.example.com", "not an origin"];
    visit(
        "web-message",
        &WebMessagePage { target_origin: &origin, web_origins: &web_origins, params: &params },
    );
}
