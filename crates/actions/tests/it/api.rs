//! `event` and `api`: what each method records, and what it refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use curfew_actions::in_process::{InProcess, run};
use curfew_actions::{ActionTrigger, Execution, Finished};
use curfew_model::Secret;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{Echo, commands, console, execution, program, thrown};

/// An execution of a function of this body, with this event.
fn of(trigger: ActionTrigger, function: &str, event: &Value, body: &str) -> Execution {
    let program = Arc::new(program(&format!("exports.{function} = async (event, api) => {{\n{body}\n}};")));
    let mut execution = execution(&program);
    execution.trigger = trigger;
    execution.function = function.to_owned();
    execution.event = RawValue::from_string(event.to_string()).unwrap();
    execution
}

fn ran(trigger: ActionTrigger, function: &str, event: &Value, body: &str) -> Finished {
    run(&of(trigger, function, event, body), Arc::new(Echo::default()))
}

fn login_event() -> Value {
    json!({
        "user": { "user_id": "auth0|1", "app_metadata": {} },
        "session": { "id": "s1", "metadata": { "old": "1" } },
        "request": { "hostname": "tenant.example", "ip": "192.0.2.1", "query": {}, "body": {} },
        "transaction": { "protocol": "oidc-basic-profile", "prompt": [], "metadata": {} },
    })
}

fn login(body: &str) -> Finished {
    ran(ActionTrigger::PostLogin, "onExecutePostLogin", &login_event(), body)
}

/// The commands as `type(args…)`.
fn calls(finished: &Finished) -> Vec<String> {
    let calls = commands(finished);
    calls
        .iter()
        .map(|call| {
            assert_eq!(call.as_object().unwrap().len(), 2, "{call}");
            let args: Vec<_> = call["args"].as_array().unwrap().iter().map(Value::to_string).collect();
            format!("{}({})", call["type"].as_str().unwrap(), args.join(","))
        })
        .collect()
}

#[test]
fn every_method_of_post_login_is_recorded_in_order() {
    let finished = login(
        "api.accessToken.setCustomClaim('https://own.example/x', { a: [1] });
         api.accessToken.addScope('read:x');
         api.accessToken.removeScope('write:x');
         api.idToken.setCustomClaim('nickname', 'Z');
         api.idToken.setCustomClaim('gone', undefined);
         api.refreshToken.setExpiresAt(1800000000000);
         api.refreshToken.setIdleExpiresAt(1800000000001);
         api.refreshToken.setMetadata('device', 'phone');
         api.refreshToken.deleteMetadata('device');
         api.refreshToken.evictMetadata();
         api.session.setExpiresAt(1800000000000);
         api.session.setIdleExpiresAt(1800000000001);
         api.session.setCookieMode('non-persistent');
         api.session.setMetadata('old', null);
         api.session.setMetadata('new', 'v');
         api.session.evictMetadata();
         api.session.revoke('over', { preserveRefreshTokens: true });
         api.user.setAppMetadata('last', { at: 1 });
         api.user.setUserMetadata('gone', null);
         api.transaction.setMetadata('seen', true);
         if (event.transaction.metadata.seen !== true) throw new Error('not seen at once');
         api.multifactor.enable('none');
         if (api.rules.wasExecuted('r') !== false) throw new Error('there are no rules');
         api.redirect.sendUserTo('https://other.example/p?a=1', { query: { b: 'x y', c: 2 } });
         api.validation.error('code', 'message');
         api.access.deny('no');",
    );
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        calls(&finished),
        [
            r#"accessToken.setCustomClaim("https://own.example/x",{"a":[1]})"#,
            r#"accessToken.addScope("read:x")"#,
            r#"accessToken.removeScope("write:x")"#,
            r#"idToken.setCustomClaim("nickname","Z")"#,
            r#"idToken.setCustomClaim("gone",null)"#,
            "refreshToken.setExpiresAt(1800000000000)",
            "refreshToken.setIdleExpiresAt(1800000000001)",
            r#"refreshToken.setMetadata("device","phone")"#,
            r#"refreshToken.deleteMetadata("device")"#,
            "refreshToken.evictMetadata()",
            "session.setExpiresAt(1800000000000)",
            "session.setIdleExpiresAt(1800000000001)",
            r#"session.setCookieMode("non-persistent")"#,
            r#"session.deleteMetadata("old")"#,
            r#"session.setMetadata("new","v")"#,
            "session.evictMetadata()",
            r#"session.revoke("over",{"preserveRefreshTokens":true})"#,
            r#"user.setAppMetadata("last",{"at":1})"#,
            r#"user.setUserMetadata("gone",null)"#,
            r#"transaction.setMetadata("seen",true)"#,
            r#"redirect.sendUserTo("https://other.example/p?a=1&b=x+y&c=2")"#,
            r#"validation.error("code","message")"#,
            r#"access.deny("no")"#,
        ]
    );
}

#[test]
fn what_is_wrong_is_refused_where_it_is_said() {
    for (call, message) in [
        ("api.access.deny()", "api.access.deny: the reason must be a string, not undefined"),
        ("api.access.deny('')", "api.access.deny: the reason must not be empty"),
        (
            "api.idToken.setCustomClaim(1, 2)",
            "api.idToken.setCustomClaim: the name must be a string, not a number",
        ),
        (
            "api.accessToken.setCustomClaim('x', () => {})",
            "api.accessToken.setCustomClaim: the value of \"x\" cannot be written as JSON: it is a function",
        ),
        (
            "api.accessToken.setCustomClaim('x', 1n)",
            "api.accessToken.setCustomClaim: the value of \"x\" cannot be written as JSON",
        ),
        (
            "api.idToken.setCustomClaim('x', 'y'.repeat(110000))",
            "api.idToken.setCustomClaim: the custom claims of a token may be 100 KB",
        ),
        (
            "api.accessToken.addScope('two scopes')",
            "api.accessToken.addScope: \"two scopes\" is not one scope",
        ),
        ("api.session.setExpiresAt(Date.now() / 1000 | 0)", "looks like seconds"),
        ("api.session.setExpiresAt(1.5)", "must be an integer: milliseconds since 1970"),
        ("api.refreshToken.setIdleExpiresAt(new Date())", "must be an integer: milliseconds since 1970"),
        ("api.session.setCookieMode('x')", "must be \"persistent\" or \"non-persistent\""),
        (
            "api.session.setMetadata('a b', 'c')",
            "Failed to set session metadata: the key \"a b\" may have letters",
        ),
        (
            "api.session.setMetadata('a', 1)",
            "Failed to set session metadata: the value of \"a\" must be a string, not a number",
        ),
        (
            "api.session.setMetadata('a', 'x'.repeat(256))",
            "Failed to set session metadata: Metadata must not exceed 25 entries.",
        ),
        (
            "for (let i = 0; i < 25; i++) api.session.setMetadata(`k${i}`, 'v')",
            "Failed to set session metadata: Metadata must not exceed 25 entries. Each key and value must be ≤ 255 characters.",
        ),
        ("api.transaction.setMetadata('k'.repeat(65), 1)", "must not be longer than 64 characters"),
        (
            "api.transaction.setMetadata('k', {})",
            "the value must be a string, a number or a boolean, not an object",
        ),
        ("api.transaction.setMetadata('k', 'v'.repeat(8193))", "a value may be 8 KB"),
        ("api.transaction.setMetadata('k', 'ü'.repeat(4097))", "a value may be 8 KB"),
        (
            "for (let i = 0; i < 3; i++) api.transaction.setMetadata(`k${i}`, 'v'.repeat(8000))",
            "may be 16 KB in all",
        ),
        ("api.user.setAppMetadata('', 1)", "api.user.setAppMetadata: the key must not be empty"),
        ("api.user.setUserMetadata('k', 'ü'.repeat(17000))", "with \"k\" it is more than the 32 KB"),
        (
            "for (const k of ['a', 'b', 'a', 'c']) api.user.setAppMetadata(k, 'v'.repeat(12000))",
            "api.user.setAppMetadata: with \"c\" it is more than the 32 KB that may be set in all",
        ),
        ("api.refreshToken.revoke('x')", "this flow has no refresh token to revoke"),
        ("api.redirect.sendUserTo('/relative')", "\"/relative\" is not an absolute address"),
        ("api.redirect.sendUserTo('javascript:alert(1)')", "the address must be one of https or http"),
        (
            "api.redirect.sendUserTo('https://a.example'); api.redirect.sendUserTo('https://b.example')",
            "sent somewhere already",
        ),
        (
            "api.authentication.recordMethod('https://own.example/m')",
            "does not support methods of authentication of an Action's own",
        ),
        ("api.multifactor.enable('x')", "api.multifactor.enable: the provider must be one of any, duo"),
        // What the server does not have is named.
        (
            "api.multifactor.enable('any')",
            "api.multifactor.enable is not available: this server does not support multi-factor authentication",
        ),
        ("api.authentication.challengeWith({ type: 'otp' })", "does not support multi-factor authentication"),
        ("api.authentication.setPrimaryUser('auth0|2')", "does not support linked accounts"),
        (
            "api.samlResponse.setAudience('x')",
            "api.samlResponse.setAudience is not available: this server does not support SAML",
        ),
        ("api.prompt.render('form')", "does not support forms"),
    ] {
        let finished = login(call);
        let (_, said, stack) = thrown(&finished);
        assert!(said.contains(message), "{call}: {said}");
        assert!(stack.contains("action.js:2"), "{call}: {stack}");
    }
}

#[test]
fn what_is_made_when_it_is_asked_for_is_like_everything_else() {
    let finished = login(
        "for (const name of ['authentication', 'samlResponse']) {
           if (!Object.keys(api).includes(name) || api[name] !== api[name]) throw new Error(name);
         }
         api.samlResponse.setAudience = () => 'own';
         if (api.samlResponse.setAudience() !== 'own') throw new Error('it cannot be written to');
         api.authentication = 1;
         if (api.authentication !== 1) throw new Error('it cannot be replaced');",
    );
    assert_eq!(finished.result, Ok(()));
}

#[test]
fn a_reserved_claim_is_left_out_and_the_log_says_so() {
    let finished = login(
        "api.idToken.setCustomClaim('sub', 'x');
         api.accessToken.setCustomClaim('https://evil.auth0.com/x', 1);
         api.accessToken.setCustomClaim('https://notauth0.com/x', 1);
         api.accessToken.setCustomClaim('scope', 'all');",
    );
    assert_eq!(calls(&finished), [r#"accessToken.setCustomClaim("https://notauth0.com/x",1)"#]);
    assert_eq!(
        console(&finished),
        [
            "warn: api.idToken.setCustomClaim: \"sub\" is a reserved claim and was left out",
            "warn: api.accessToken.setCustomClaim: \"https://evil.auth0.com/x\" is in a reserved namespace and was left out",
            "warn: api.accessToken.setCustomClaim: \"scope\" is a reserved claim and was left out",
        ]
    );
}

#[test]
fn a_token_of_a_redirect_goes_out_and_comes_back() {
    let finished = login(
        "const token = api.redirect.encodeToken({ secret: 's3cret', payload: { own: 'ü', exp: 1, state: 'st' } });
         const [head, body] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
         console.log(JSON.stringify(head), JSON.stringify(body));
         const validate = (query, options = {}) => {
           event.request.query = query;
           try { return JSON.stringify(api.redirect.validateToken({ secret: 's3cret', ...options })); } catch (error) { return error.message; }
         };
         console.log(JSON.parse(validate({ session_token: token, state: 'st' })).own);
         console.log(JSON.parse(validate({ other: token, state: 'st' }, { tokenParameterName: 'other' })).own);
         console.log(validate({ state: 'st' }));
         console.log(validate({ session_token: token, state: 'another' }));
         console.log(validate({ session_token: token, state: 'st' }, { secret: 'else' }));
         console.log(validate({ session_token: `${Buffer.from('{\"alg\":\"none\"}').toString('base64url')}.${token.split('.')[1]}.AA`, state: 'st' }));
         console.log(validate({ session_token: 'nonsense', state: 'st' }));
         const late = api.redirect.encodeToken({ secret: 's3cret', payload: { state: 'st' }, expiresInSeconds: 1 });
         const past = late.split('.');
         past[1] = Buffer.from(JSON.stringify({ exp: 1, state: 'st' })).toString('base64url');
         past[2] = require('crypto').createHmac('sha256', 's3cret').update(`${past[0]}.${past[1]}`).digest('base64url');
         console.log(validate({ session_token: past.join('.'), state: 'st' }));
         console.log(api.redirect.canRedirect());",
    );
    assert_eq!(finished.result, Ok(()));
    let prefix = "log: api.redirect.validateToken: the token is not valid: ";
    assert_eq!(
        console(&finished),
        [
            "log: {\"alg\":\"HS256\",\"typ\":\"JWT\"} {\"own\":\"ü\",\"exp\":1767262500,\"state\":\"st\",\"iat\":1767261600,\"iss\":\"tenant.example\",\"sub\":\"auth0|1\",\"ip\":\"192.0.2.1\"}".to_owned(),
            "log: ü".to_owned(),
            "log: ü".to_owned(),
            "log: api.redirect.validateToken: the request has no parameter \"session_token\"".to_owned(),
            format!("{prefix}its \"state\" is not that of this transaction"),
            format!("{prefix}the signature is another one"),
            format!("{prefix}it must be signed with HS256"),
            format!("{prefix}it is no JWT"),
            format!("{prefix}it has expired"),
            "log: true".to_owned(),
        ]
    );
}

#[test]
fn where_no_browser_is_nobody_is_redirected() {
    for (protocol, prompt) in [
        ("oauth2-refresh-token", json!([])),
        ("oauth2-password", json!([])),
        ("oidc-basic-profile", json!(["none"])),
    ] {
        let mut event = login_event();
        event["transaction"]["protocol"] = json!(protocol);
        event["transaction"]["prompt"] = prompt;
        let body = "console.log(api.redirect.canRedirect()); api.redirect.sendUserTo('https://a.example');";
        let finished = ran(ActionTrigger::PostLogin, "onExecutePostLogin", &event, body);
        assert_eq!(console(&finished), ["log: false"]);
        assert!(thrown(&finished).1.contains("has no browser"));
    }
}

#[test]
fn a_refresh_token_is_revoked_where_one_is_exchanged() {
    let mut event = login_event();
    event["transaction"]["protocol"] = json!("oauth2-refresh-token");
    let finished =
        ran(ActionTrigger::PostLogin, "onExecutePostLogin", &event, "api.refreshToken.revoke('stolen');");
    assert_eq!(calls(&finished), [r#"refreshToken.revoke("stolen")"#]);
}

#[test]
fn the_other_triggers_have_their_own_api() {
    let event = json!({ "request": {}, "transaction": {} });
    let keys = "console.log(Object.keys(api).sort().join());";
    let body = format!(
        "{keys} api.accessToken.setCustomClaim('a', 1);
         try {{ api.access.deny('access_denied', 'x'); }} catch (error) {{ console.log(error.message); }}
         api.access.deny('invalid_scope', 'why');"
    );
    let finished = ran(ActionTrigger::CredentialsExchange, "onExecuteCredentialsExchange", &event, &body);
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        calls(&finished),
        [r#"accessToken.setCustomClaim("a",1)"#, r#"access.deny("invalid_scope","why")"#]
    );
    assert_eq!(
        console(&finished),
        [
            "log: access,accessToken,cache,transaction",
            "log: api.access.deny: the code must be one of invalid_scope, invalid_request, server_error, not \"access_denied\""
        ]
    );

    let body = format!(
        "{keys} api.user.setUserMetadata('a', 1); api.user.setAppMetadata('b', [2]); api.validation.error('c', 'm'); api.access.deny('log', 'shown'); api.access.deny('log');"
    );
    let finished = ran(ActionTrigger::PreUserRegistration, "onExecutePreUserRegistration", &event, &body);
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        calls(&finished),
        [
            r#"user.setUserMetadata("a",1)"#,
            r#"user.setAppMetadata("b",[2])"#,
            r#"validation.error("c","m")"#,
            r#"access.deny("log","shown")"#,
            r#"access.deny("log",null)"#,
        ]
    );
    assert_eq!(console(&finished), ["log: access,cache,transaction,user,validation"]);

    let finished = ran(ActionTrigger::PostUserRegistration, "onExecutePostUserRegistration", &event, keys);
    assert_eq!(console(&finished), ["log: cache"]);
    let body = format!("{keys} api.transaction.setResultUrl('https://x');");
    let finished = ran(ActionTrigger::PostChangePassword, "onExecutePostChangePassword", &event, &body);
    assert_eq!(console(&finished), ["log: cache,transaction"]);
    assert!(thrown(&finished).1.starts_with("api.transaction.setResultUrl is not available"));
}

#[test]
fn the_cache_answers_at_once() {
    let finished = login(
        "console.log(api.cache.get('k'));
         const stored = api.cache.set('k', 'v', { ttl: 1000 });
         console.log(stored.type, stored.record.value, api.cache.get('k').value, typeof api.cache.get('k').expires_at);
         console.log(api.cache.delete('k').type, api.cache.get('k'));
         try { api.cache.set('k', { a: 1 }); } catch (error) { console.log(error.message); }
         try { api.cache.set('k', 'v', { ttl: '5' }); } catch (error) { console.log(error.message); }",
    );
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        console(&finished),
        [
            "log: undefined",
            "log: success v v number",
            "log: success undefined",
            "log: api.cache.set: the value must be a string, not an object. Use JSON.stringify",
            "log: api.cache.set: ttl must be a number of milliseconds, not a string",
        ]
    );
}

/// What one execution keeps of its `api` is worth nothing to the next; nor does it see the next one's secrets by it.
#[test]
fn the_api_of_an_execution_ends_with_it() {
    let program = Arc::new(program(
        "let kept;
         exports.onExecutePostLogin = async (event, api) => {
           if (kept === undefined) {
             kept = { event, api };
             Array.prototype.push = () => { throw new Error('replaced'); };
             Object.prototype.toJSON = undefined;
             JSON.stringify = () => '{\"type\":\"access.deny\",\"args\":[\"forged\"]}';
             return;
           }
           try { kept.api.access.deny('late'); } catch (error) { console.log(error.message); }
           console.log(kept.event.secrets.token, event.secrets.token, kept.api === api);
           api.user.setAppMetadata('a', 'b');
         };",
    ));
    let mut engine = InProcess::new(&program).unwrap();
    for token in ["first", "second"] {
        let mut execution = execution(&program);
        execution.secrets = BTreeMap::from([("token".to_owned(), Secret::new(token.to_owned()))]);
        let finished = engine.run(&execution, Arc::new(Echo::default()));
        assert_eq!(finished.result, Ok(()));
        if token == "second" {
            assert_eq!(
                console(&finished),
                [
                    "log: api.access.deny: the execution that this api belongs to is over",
                    "log: first second false"
                ]
            );
            assert_eq!(calls(&finished), [r#"user.setAppMetadata("a","b")"#]);
        }
    }
}
