//! The languages of the pages, how one is chosen, and every text.
//!
//! A language is one [`Texts`] constant, so the compiler refuses a text that is missing. A translation that is not
//! complete yet ends in `..ENGLISH`, and what it lacks is shown in English.

/// A language in which the pages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English, the language everything falls back to.
    #[default]
    English,
    /// German.
    German,
}

impl Lang {
    /// Every language, in no particular order.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// The BCP 47 tag, as in the `lang` attribute.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Chooses the language of a page.
    ///
    /// `ui_locales` is the parameter of that name: space-separated BCP 47 tags in order of preference (OIDC Core
    /// §3.1.2.1). `accept_language` is the header's value (RFC 9110 §12.5.4). `enabled` are the tenant's
    /// `enabled_locales`, the first being its default. A tag is looked up as RFC 4647 §3.4 says: `de-CH` finds
    /// `de`. What is unknown or not enabled is passed over, never an error.
    pub fn negotiate(
        ui_locales: Option<&str>,
        accept_language: Option<&str>,
        enabled: &[impl AsRef<str>],
    ) -> Self {
        let enabled: Vec<Self> = enabled.iter().filter_map(|tag| Self::lookup(tag.as_ref())).collect();
        let asked = ui_locales.unwrap_or_default().split_ascii_whitespace().take(TAGS_MAX);
        asked
            .chain(accepted(accept_language.unwrap_or_default()))
            .filter_map(Self::lookup)
            .find(|lang| enabled.contains(lang))
            .or_else(|| enabled.first().copied())
            .unwrap_or_default()
    }

    /// RFC 4647 §3.4: the tag is shortened from its end until it is one of ours.
    fn lookup(tag: &str) -> Option<Self> {
        let mut range = tag;
        loop {
            if let Some(lang) = Self::ALL.into_iter().find(|lang| lang.tag().eq_ignore_ascii_case(range)) {
                return Some(lang);
            }
            range = &range[..range.rfind('-')?];
        }
    }

    /// The texts in this language.
    pub(super) const fn texts(self) -> &'static Texts {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
        }
    }
}

/// How many tags of a request are looked at; a longer list is not a person's.
const TAGS_MAX: usize = 16;

/// The tags of an `Accept-Language` value, most wanted first. `*` and weights of zero are left out.
fn accepted(header: &str) -> impl Iterator<Item = &str> {
    let mut tags: Vec<(&str, f32)> = header
        .split(',')
        .take(TAGS_MAX)
        .filter_map(|entry| {
            let (tag, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = match parameters.trim().strip_prefix("q=") {
                Some(q) => q.trim().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?,
                None => 1.0,
            };
            (weight > 0.0).then_some((tag.trim(), weight))
        })
        .collect();
    tags.sort_by(|left, right| right.1.total_cmp(&left.1));
    tags.into_iter().map(|(tag, _)| tag)
}

/// A text with one gap, `{}`, for a name. The name is put there by the template, which escapes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrase(pub(super) &'static str);

impl Phrase {
    /// What stands before the gap, and what after.
    pub(super) fn around(self) -> (&'static str, &'static str) {
        self.0.split_once("{}").unwrap_or((self.0, ""))
    }

    /// The text with a number in its gap.
    pub(super) fn with(self, number: usize) -> String {
        let (before, after) = self.around();
        format!("{before}{number}{after}")
    }
}

/// Every text of every page in one language.
pub(super) struct Texts {
    pub(super) email: &'static str,
    pub(super) username: &'static str,
    pub(super) email_or_username: &'static str,
    pub(super) password: &'static str,
    pub(super) continue_: &'static str,
    pub(super) need_help: &'static str,
    pub(super) please_wait: &'static str,

    pub(super) login_title: &'static str,
    pub(super) to_continue_to: Phrase,
    pub(super) keep_signed_in: &'static str,
    pub(super) forgot_password: &'static str,
    pub(super) no_account: &'static str,
    pub(super) create_one: &'static str,
    pub(super) wrong_credentials: &'static str,
    pub(super) busy: &'static str,
    pub(super) form_expired: &'static str,
    pub(super) too_many_attempts: &'static str,
    pub(super) connection_unavailable: &'static str,

    pub(super) signup_title: &'static str,
    pub(super) signup_button: &'static str,
    pub(super) have_account: &'static str,
    pub(super) sign_in_instead: &'static str,
    pub(super) email_invalid: &'static str,
    pub(super) username_invalid: &'static str,
    pub(super) password_too_weak: &'static str,
    pub(super) password_too_common: &'static str,
    pub(super) password_holds_user_info: &'static str,
    pub(super) password_used_before: &'static str,
    pub(super) signup_not_possible: &'static str,
    pub(super) rule_length: Phrase,
    pub(super) rule_three_classes: &'static str,
    pub(super) rule_three_of_four: &'static str,
    pub(super) rule_no_repeats: &'static str,

    pub(super) consent_title: Phrase,
    pub(super) consent_intro: Phrase,
    pub(super) consent_intro_no_scopes: Phrase,
    pub(super) consent_belongs_to: Phrase,
    pub(super) consent_returns_to: Phrase,
    pub(super) signed_in_as: Phrase,
    pub(super) accept: &'static str,
    pub(super) deny: &'static str,
    pub(super) scope_openid: &'static str,
    pub(super) scope_profile: &'static str,
    pub(super) scope_email: &'static str,
    pub(super) scope_address: &'static str,
    pub(super) scope_phone: &'static str,
    pub(super) scope_offline_access: &'static str,

    pub(super) error_request: Explanation,
    pub(super) error_expired: Explanation,
    pub(super) error_denied: Explanation,
    pub(super) error_busy: Explanation,
    pub(super) error_not_found: Explanation,
    pub(super) error_setup_link: Explanation,
    pub(super) error_server: Explanation,
    pub(super) error_code: &'static str,
    pub(super) error_description: &'static str,
    pub(super) request_id: &'static str,
    pub(super) back_to: Phrase,
    pub(super) back_to_application: &'static str,

    pub(super) logged_out_title: &'static str,
    pub(super) logged_out_text: &'static str,
    pub(super) signing_out_title: &'static str,
    pub(super) signing_out_text: &'static str,
    pub(super) log_out_title: &'static str,
    pub(super) log_out_text: &'static str,
    pub(super) log_out: &'static str,
    pub(super) stay_signed_in: &'static str,

    pub(super) setup_title: &'static str,
    pub(super) setup_text: &'static str,
    pub(super) setup_button: &'static str,
    pub(super) setup_done_title: &'static str,
    pub(super) setup_done_text: &'static str,
    pub(super) setup_once: &'static str,
    pub(super) setup_m2m: &'static str,
    pub(super) setup_m2m_text: &'static str,
    pub(super) setup_spa: &'static str,
    pub(super) setup_spa_text: Phrase,
    pub(super) domain: &'static str,
    pub(super) client_id: &'static str,
    pub(super) client_secret: &'static str,
    pub(super) audience: &'static str,
    pub(super) copy: &'static str,
    pub(super) copied: &'static str,

    pub(super) form_post_title: &'static str,
    pub(super) form_post_text: &'static str,
    pub(super) web_message_title: &'static str,
    pub(super) web_message_text: &'static str,
}

/// What an error page says: what happened, and what the person can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Explanation {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) next: &'static str,
}

const ENGLISH: Texts = Texts {
    email: "Email address",
    username: "Username",
    email_or_username: "Email address or username",
    password: "Password",
    continue_: "Continue",
    need_help: "Need help?",
    please_wait: "One moment, please.",

    login_title: "Sign in",
    to_continue_to: Phrase("to continue to {}"),
    keep_signed_in: "Keep me signed in",
    forgot_password: "Forgot password?",
    no_account: "New here?",
    create_one: "Create an account",
    wrong_credentials: "Wrong email or password.",
    busy: "There are too many sign-ins right now. Please try again in a few seconds.",
    form_expired: "This page was open for too long. Please sign in again.",
    too_many_attempts: "Too many attempts. Please wait a while before you try again.",
    connection_unavailable: "Signing in with a password is not possible here.",

    signup_title: "Create your account",
    signup_button: "Create account",
    have_account: "Already have an account?",
    sign_in_instead: "Sign in",
    email_invalid: "Enter an email address, like name@example.com.",
    username_invalid: "Choose a different username: letters, numbers, and . _ - only.",
    password_too_weak: "Choose a stronger password that follows the rules below.",
    password_too_common: "This password is too common. Choose one that others would not think of.",
    password_holds_user_info: "Choose a password that does not contain your name or email address.",
    password_used_before: "You have used this password before. Choose a new one.",
    signup_not_possible: "We could not create an account with these details. If you already have one, sign in instead.",
    rule_length: Phrase("At least {} characters"),
    rule_three_classes: "A lower-case letter, an upper-case letter and a number",
    rule_three_of_four: "Three of these: lower-case letters, upper-case letters, numbers, symbols",
    rule_no_repeats: "No more than two identical characters in a row",

    consent_title: Phrase("Authorize {}"),
    consent_intro: Phrase("{} would like to:"),
    consent_intro_no_scopes: Phrase("{} would like to sign you in."),
    consent_belongs_to: Phrase("These permissions belong to {}."),
    consent_returns_to: Phrase("You will be taken to {}."),
    signed_in_as: Phrase("Signed in as {}"),
    accept: "Accept",
    deny: "Decline",
    scope_openid: "Know who you are",
    scope_profile: "See your profile: your name and picture",
    scope_email: "See your email address",
    scope_address: "See your postal address",
    scope_phone: "See your phone number",
    scope_offline_access: "Keep this access while you are away",

    error_request: Explanation {
        title: "This request does not work",
        text: "The application sent something that we cannot accept. Your account is fine.",
        next: "Go back to the application and try again. If that does not help, send the details below to whoever runs it.",
    },
    error_expired: Explanation {
        title: "This page has expired",
        text: "The sign-in that belongs to this page is over, or this browser did not start it.",
        next: "Go back to the application and sign in again.",
    },
    error_denied: Explanation {
        title: "Access denied",
        text: "You were not given access.",
        next: "Close this window, or go back to the application to try a different account.",
    },
    error_busy: Explanation {
        title: "Too many requests",
        text: "More requests are coming in than we can answer.",
        next: "Wait a moment, then reload this page.",
    },
    error_not_found: Explanation {
        title: "Page not found",
        text: "There is nothing at this address.",
        next: "Check the address, or go back to the application.",
    },
    error_setup_link: Explanation {
        title: "This set-up link does not work",
        text: "It was used already, or a newer one has replaced it.",
        next: "If the first administrator is not set up yet, use the newest link in the server's output.",
    },
    error_server: Explanation {
        title: "Something went wrong",
        text: "The fault is on our side. Your account is fine.",
        next: "Try again in a moment. If it keeps happening, send the details below to whoever runs this service.",
    },
    error_code: "Error",
    error_description: "Details",
    request_id: "Request",
    back_to: Phrase("Back to {}"),
    back_to_application: "Back to the application",

    logged_out_title: "You are signed out",
    logged_out_text: "You can close this window now.",
    signing_out_title: "Signing you out",
    signing_out_text: "The applications that you opened in this browser are signing you out, too. If nothing happens, choose Continue.",
    log_out_title: "Sign out?",
    log_out_text: "You will have to sign in again in the applications that you opened in this browser.",
    log_out: "Sign out",
    stay_signed_in: "Stay signed in",

    setup_title: "Set up Curfew",
    setup_text: "Create the first administrator. This link works once.",
    setup_button: "Create administrator",
    setup_done_title: "Curfew is ready",
    setup_done_text: "The administrator was created, and so were two applications.",
    setup_once: "The client secret is shown only once. Store it in a safe place before you leave this page.",
    setup_m2m: "Management API",
    setup_m2m_text: "A machine-to-machine application with every permission.",
    setup_spa: "Sample single-page application",
    setup_spa_text: Phrase("Ready for {}; it needs no secret."),
    domain: "Domain",
    client_id: "Client ID",
    client_secret: "Client secret",
    audience: "Audience",
    copy: "Copy",
    copied: "Copied",

    form_post_title: "Signing you in",
    form_post_text: "If nothing happens, choose Continue.",
    web_message_title: "Signing you in",
    web_message_text: "You can close this window if it stays open.",
};

const GERMAN: Texts = Texts {
    email: "E-Mail-Adresse",
    username: "Benutzername",
    email_or_username: "E-Mail-Adresse oder Benutzername",
    password: "Passwort",
    continue_: "Weiter",
    need_help: "Brauchen Sie Hilfe?",
    please_wait: "Einen Augenblick bitte.",

    login_title: "Anmelden",
    to_continue_to: Phrase("und weiter zu {}"),
    keep_signed_in: "Angemeldet bleiben",
    forgot_password: "Passwort vergessen?",
    no_account: "Neu hier?",
    create_one: "Konto anlegen",
    wrong_credentials: "E-Mail-Adresse oder Passwort ist falsch.",
    busy: "Gerade melden sich zu viele an. Bitte versuchen Sie es in einigen Sekunden noch einmal.",
    form_expired: "Diese Seite war zu lange offen. Bitte melden Sie sich noch einmal an.",
    too_many_attempts: "Zu viele Versuche. Bitte warten Sie eine Weile, bevor Sie es noch einmal versuchen.",
    connection_unavailable: "Die Anmeldung mit Passwort ist hier nicht möglich.",

    signup_title: "Konto anlegen",
    signup_button: "Konto anlegen",
    have_account: "Sie haben schon ein Konto?",
    sign_in_instead: "Anmelden",
    email_invalid: "Geben Sie eine E-Mail-Adresse ein, etwa name@example.com.",
    username_invalid: "Wählen Sie einen anderen Benutzernamen: nur Buchstaben, Ziffern und . _ -",
    password_too_weak: "Wählen Sie ein stärkeres Passwort nach den Regeln unten.",
    password_too_common: "Dieses Passwort ist zu verbreitet. Wählen Sie eines, auf das andere nicht kommen.",
    password_holds_user_info: "Wählen Sie ein Passwort, in dem weder Ihr Name noch Ihre E-Mail-Adresse vorkommt.",
    password_used_before: "Dieses Passwort hatten Sie schon einmal. Wählen Sie ein neues.",
    signup_not_possible: "Mit diesen Angaben konnten wir kein Konto anlegen. Wenn Sie schon eines haben, melden Sie sich an.",
    rule_length: Phrase("Mindestens {} Zeichen"),
    rule_three_classes: "Ein Kleinbuchstabe, ein Großbuchstabe und eine Ziffer",
    rule_three_of_four: "Drei davon: Kleinbuchstaben, Großbuchstaben, Ziffern, Sonderzeichen",
    rule_no_repeats: "Höchstens zwei gleiche Zeichen hintereinander",

    consent_title: Phrase("{} zulassen"),
    consent_intro: Phrase("{} möchte:"),
    consent_intro_no_scopes: Phrase("{} möchte Sie anmelden."),
    consent_belongs_to: Phrase("Diese Rechte gehören zu {}."),
    consent_returns_to: Phrase("Danach geht es weiter zu {}."),
    signed_in_as: Phrase("Angemeldet als {}"),
    accept: "Zulassen",
    deny: "Ablehnen",
    scope_openid: "Wissen, wer Sie sind",
    scope_profile: "Ihr Profil sehen: Name und Bild",
    scope_email: "Ihre E-Mail-Adresse sehen",
    scope_address: "Ihre Postanschrift sehen",
    scope_phone: "Ihre Telefonnummer sehen",
    scope_offline_access: "Diesen Zugang behalten, während Sie abwesend sind",

    error_request: Explanation {
        title: "Diese Anfrage funktioniert nicht",
        text: "Die Anwendung hat etwas geschickt, das wir nicht annehmen können. Mit Ihrem Konto ist alles in Ordnung.",
        next: "Gehen Sie zur Anwendung zurück und versuchen Sie es noch einmal. Hilft das nicht, schicken Sie die Angaben unten an deren Betreiber.",
    },
    error_expired: Explanation {
        title: "Diese Seite ist abgelaufen",
        text: "Die Anmeldung, zu der diese Seite gehört, ist vorbei oder wurde nicht in diesem Browser begonnen.",
        next: "Gehen Sie zur Anwendung zurück und melden Sie sich noch einmal an.",
    },
    error_denied: Explanation {
        title: "Zugang verweigert",
        text: "Sie haben keinen Zugang erhalten.",
        next: "Schließen Sie dieses Fenster, oder versuchen Sie es in der Anwendung mit einem anderen Konto.",
    },
    error_busy: Explanation {
        title: "Zu viele Anfragen",
        text: "Es kommen mehr Anfragen an, als wir beantworten können.",
        next: "Warten Sie einen Augenblick und laden Sie die Seite dann neu.",
    },
    error_not_found: Explanation {
        title: "Seite nicht gefunden",
        text: "Unter dieser Adresse gibt es nichts.",
        next: "Prüfen Sie die Adresse, oder gehen Sie zur Anwendung zurück.",
    },
    error_setup_link: Explanation {
        title: "Dieser Einrichtungslink funktioniert nicht",
        text: "Er wurde schon benutzt oder durch einen neueren ersetzt.",
        next: "Wenn es noch keinen Administrator gibt, nehmen Sie den neuesten Link aus der Ausgabe des Servers.",
    },
    error_server: Explanation {
        title: "Etwas ist schiefgegangen",
        text: "Der Fehler liegt bei uns. Mit Ihrem Konto ist alles in Ordnung.",
        next: "Versuchen Sie es gleich noch einmal. Hilft das nicht, schicken Sie die Angaben unten an den Betreiber dieses Dienstes.",
    },
    error_code: "Fehler",
    error_description: "Angaben",
    request_id: "Anfrage",
    back_to: Phrase("Zurück zu {}"),
    back_to_application: "Zurück zur Anwendung",

    logged_out_title: "Sie sind abgemeldet",
    logged_out_text: "Sie können dieses Fenster jetzt schließen.",
    signing_out_title: "Sie werden abgemeldet",
    signing_out_text: "Auch die Anwendungen, die Sie in diesem Browser geöffnet haben, melden Sie gerade ab. Wenn nichts geschieht, wählen Sie Weiter.",
    log_out_title: "Abmelden?",
    log_out_text: "In den Anwendungen, die Sie in diesem Browser geöffnet haben, müssen Sie sich danach neu anmelden.",
    log_out: "Abmelden",
    stay_signed_in: "Angemeldet bleiben",

    setup_title: "Curfew einrichten",
    setup_text: "Legen Sie den ersten Administrator an. Dieser Link gilt einmal.",
    setup_button: "Administrator anlegen",
    setup_done_title: "Curfew ist bereit",
    setup_done_text: "Der Administrator ist angelegt, dazu zwei Anwendungen.",
    setup_once: "Das Client Secret wird nur dieses eine Mal gezeigt. Bewahren Sie es sicher auf, bevor Sie diese Seite verlassen.",
    setup_m2m: "Management API",
    setup_m2m_text: "Eine Anwendung von Maschine zu Maschine mit allen Rechten.",
    setup_spa: "Beispiel einer Single-Page-Anwendung",
    setup_spa_text: Phrase("Bereit für {}; sie braucht kein Secret."),
    domain: "Domain",
    client_id: "Client ID",
    client_secret: "Client Secret",
    audience: "Audience",
    copy: "Kopieren",
    copied: "Kopiert",

    form_post_title: "Sie werden angemeldet",
    form_post_text: "Wenn nichts geschieht, wählen Sie Weiter.",
    web_message_title: "Sie werden angemeldet",
    web_message_text: "Sie können dieses Fenster schließen, wenn es offen bleibt.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_enabled_language_that_is_asked_for_is_chosen() {
        const BOTH: &[&str] = &["en", "de"];
        type Case = (Option<&'static str>, Option<&'static str>, &'static [&'static str], Lang);
        let cases: [Case; 14] = [
            (None, None, BOTH, Lang::English),
            (None, None, &["de", "en"], Lang::German),
            (Some("de"), None, BOTH, Lang::German),
            (Some("DE"), None, BOTH, Lang::German),
            (Some("de-CH-1996"), None, BOTH, Lang::German),
            (Some("fr de en"), None, BOTH, Lang::German),
            (Some("de"), None, &["en"], Lang::English),
            (Some("fr"), Some("de"), BOTH, Lang::German),
            (None, Some("fr-CH, de;q=0.8, en;q=0.9"), BOTH, Lang::English),
            (None, Some("en;q=0, de;q=0.1"), BOTH, Lang::German),
            (None, Some("*"), &["de"], Lang::German),
            (Some("en"), Some("de"), &["de-AT", "en-GB"], Lang::English),
            (Some("deutsch"), Some(";;q=,--;q=NaN"), BOTH, Lang::English),
            (Some("de"), None, &["xx"], Lang::English),
        ];
        for (ui_locales, accept_language, enabled, expected) in cases {
            let chosen = Lang::negotiate(ui_locales, accept_language, enabled);
            assert_eq!(chosen, expected, "{ui_locales:?} {accept_language:?} {enabled:?}");
        }
    }

    #[test]
    fn a_phrase_has_its_gap_in_every_language() {
        for lang in Lang::ALL {
            let t = lang.texts();
            for phrase in [
                t.to_continue_to,
                t.rule_length,
                t.consent_title,
                t.consent_intro,
                t.consent_intro_no_scopes,
                t.consent_belongs_to,
                t.consent_returns_to,
                t.signed_in_as,
                t.back_to,
                t.setup_spa_text,
            ] {
                assert_eq!(phrase.0.matches("{}").count(), 1, "{phrase:?}");
            }
        }
    }

    #[test]
    fn a_refused_login_says_the_same_whatever_was_wrong() {
        assert_eq!(Lang::English.texts().wrong_credentials, "Wrong email or password.");
        for lang in Lang::ALL {
            let text = lang.texts().wrong_credentials.to_lowercase();
            assert!(text.contains("mail") && text.contains("passwor"), "{text}");
        }
    }
}
