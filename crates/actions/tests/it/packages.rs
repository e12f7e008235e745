//! Popular packages, unmodified, at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use curfew_actions::in_process::run;
use curfew_actions::{
    CacheAnswer, CacheRequest, Execution, FetchError, FetchRequest, FetchResponse, Host, HostFuture, Program,
};
use curfew_model::Secret;

use crate::npm::set_of;
use crate::pool::in_a_worker;
use crate::support::{console, execution};

/// A site that answers by method and path, and remembers what it was asked.
#[derive(Default)]
struct Site {
    asked: Mutex<Vec<FetchRequest>>,
}

impl Site {
    fn respond(request: &FetchRequest) -> (u16, &'static str, String) {
        let path = request.url.strip_prefix("https://tenant.example").unwrap_or(&request.url);
        let body = String::from_utf8_lossy(&request.body);
        match (request.method.as_str(), path) {
            ("POST", "/oauth/token") => (
                200,
                "application/json",
                r#"{"access_token":"at","expires_in":86400,"token_type":"Bearer"}"#.into(),
            ),
            ("GET", path) if path.starts_with("/api/v2/users/auth0%7C1/sessions") => {
                (200, "application/json", r#"{"sessions":[{"id":"s1"},{"id":"s2"},{"id":"s3"}]}"#.into())
            }
            ("DELETE", path) if path.starts_with("/api/v2/sessions/") => (204, "", String::new()),
            ("GET", "/redirect") => (302, "", String::new()),
            ("GET", "/missing") => (404, "application/json", r#"{"message":"nothing here"}"#.into()),
            ("POST", "/hook") => (200, "text/html", "ok".into()),
            (method, _) => (
                200,
                "application/json",
                serde_json::json!({ "method": method, "url": path, "body": body }).to_string(),
            ),
        }
    }
}

impl Host for Site {
    fn fetch(&self, request: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        Box::pin(async move {
            if request.url.starts_with("https://refused.example/") {
                return Err(FetchError::new("ECONNREFUSED", "nobody listens"));
            }
            let (status, content_type, body) = Self::respond(&request);
            let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
            if status == 302 {
                headers = vec![("location".to_owned(), "/landed".to_owned())];
            }
            let url = request.url.clone();
            self.asked.lock().unwrap().push(request);
            Ok(FetchResponse {
                status,
                status_text: String::new(),
                url,
                redirected: false,
                headers,
                body: Bytes::from(body),
            })
        })
    }

    fn cache(&self, _: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        Box::pin(async { CacheAnswer::Nothing })
    }
}

/// An execution of an Action with one package.
fn with(alias: &str, name: &str, code: &str) -> Execution {
    let program = Arc::new(Program {
        id: format!("packages:{alias}"),
        code: code.into(),
        packages: Some(Arc::new(set_of(alias, name))),
        modules: Vec::new(),
    });
    let mut execution = execution(&program);
    execution.event = serde_json::value::RawValue::from_string(
        r#"{"user":{"user_id":"auth0|1"},"session":{"id":"s2"}}"#.to_owned(),
    )
    .unwrap();
    execution.secrets = [("domain", "tenant.example"), ("clientId", "c"), ("clientSecret", "s")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())))
        .into_iter()
        .collect::<BTreeMap<_, _>>();
    execution
}

/// Runs a body that fails where something is not as it should be; gives what was asked of the network.
fn works(alias: &str, name: &str, body: &str) -> Vec<FetchRequest> {
    let site = Arc::new(Site::default());
    let code = format!(
        "const assert = require('assert'); const {{ deepStrictEqual: same, strictEqual: is, ok }} = assert;\nexports.onExecutePostLogin = async (event, api) => {{\n{body}\nconsole.log('to the end');\n}};"
    );
    let finished = run(&with(alias, name, &code), Arc::clone(&site) as _);
    assert_eq!(finished.result, Ok(()), "{alias}: {:?}", finished.console);
    assert!(console(&finished).ends_with(&["log: to the end".to_owned()]), "{:?}", finished.console);
    Arc::try_unwrap(site).map(|site| site.asked.into_inner().unwrap()).unwrap_or_default()
}

/// An Action that leaves only the session that has just begun.
const ONE_SESSION: &str = "
exports.onExecutePostLogin = async (event, api) => {
  const ManagementClient = require('auth0').ManagementClient;
  const client = new ManagementClient({
    domain: event.secrets.domain,
    clientId: event.secrets.clientId,
    clientSecret: event.secrets.clientSecret
  });
  const answer = await client.users.sessions.list(event.user.user_id);
  for (const session of answer.response.sessions) {
    if (session.id !== event.session.id) await client.sessions.delete(session.id);
  }
};";

fn manages(alias: &str, confined: bool) {
    let site = Arc::new(Site::default());
    let execution = with(alias, "auth0", ONE_SESSION);
    let finished = if confined {
        in_a_worker(execution, Arc::clone(&site) as _)
    } else {
        run(&execution, Arc::clone(&site) as _)
    };
    assert_eq!(finished.result, Ok(()), "{:?}", finished.console);
    let asked = site.asked.lock().unwrap();
    let lines: Vec<_> = asked
        .iter()
        .map(|request| format!("{} {}", request.method, request.url.split('?').next().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            "POST https://tenant.example/oauth/token",
            "GET https://tenant.example/api/v2/users/auth0%7C1/sessions",
            "DELETE https://tenant.example/api/v2/sessions/s1",
            "DELETE https://tenant.example/api/v2/sessions/s3",
        ]
    );
    let header = |at: usize, name: &str| {
        asked[at]
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    assert_eq!(header(1, "authorization").as_deref(), Some("Bearer at"));
    assert!(header(1, "auth0-client").is_some(), "{:?}", asked[1]);
    assert_eq!(header(0, "content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    let form = String::from_utf8_lossy(&asked[0].body).into_owned();
    for field in [
        "grant_type=client_credentials",
        "client_id=c",
        "client_secret=s",
        "audience=https%3A%2F%2Ftenant.example%2Fapi%2Fv2%2F",
    ] {
        assert!(form.contains(field), "{form}");
    }
}

#[test]
fn auth0_5_manages_sessions() {
    manages("auth0-5", false);
}

#[test]
fn auth0_6_manages_sessions() {
    manages("auth0-6", false);
}

#[test]
fn auth0_7_manages_sessions() {
    manages("auth0-7", false);
}

#[test]
fn auth0_manages_sessions_from_a_worker() {
    manages("auth0-7", true);
}

#[test]
fn keys_are_made_and_used_in_a_worker() {
    let code = "exports.onExecutePostLogin = async () => {
        const jose = require('jose');
        for (const alg of ['RS256', 'ES256', 'EdDSA']) {
          const { privateKey, publicKey } = await jose.generateKeyPair(alg);
          const token = await new jose.SignJWT({ alg }).setProtectedHeader({ alg }).sign(privateKey);
          console.log((await jose.jwtVerify(token, publicKey)).payload.alg);
        }
      };";
    let finished = in_a_worker(with("jose-6", "jose", code), Arc::new(Site::default()));
    assert_eq!(finished.result, Ok(()));
    assert_eq!(console(&finished), ["log: RS256", "log: ES256", "log: EdDSA"]);
}

#[test]
fn axios_asks() {
    let asked = works(
        "axios",
        "axios",
        "const axios = require('axios');
         const got = await axios.get('https://tenant.example/a', { params: { x: 'y z' }, headers: { 'X-Own': '1' } });
         same([got.status, got.data.method, got.data.url], [200, 'GET', '/a?x=y+z']);
         const posted = await axios.post('https://tenant.example/b', { a: [1, 'ü'] });
         is(posted.data.body, '{\"a\":[1,\"ü\"]}');
         const client = axios.create({ baseURL: 'https://tenant.example', auth: { username: 'u', password: 'p' }, timeout: 5000 });
         is((await client.put('/c', new URLSearchParams({ k: 'v' }))).data.body, 'k=v');
         is((await client.get('/redirect')).data.url, '/landed');
         const error = await client.get('/missing').catch((error) => error);
         same([axios.isAxiosError(error), error.response.status, error.response.data.message], [true, 404, 'nothing here']);
         const refused = await axios.get('https://refused.example/').catch((error) => error);
         is(refused.code, 'ECONNREFUSED');
         const other = await axios.get('https://tenant.example/fetch', { adapter: 'fetch' });
         is(other.data.url, '/fetch');",
    );
    let header = |path: &str, name: &str| {
        let request = asked.iter().find(|request| request.url.ends_with(path)).unwrap();
        request.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    assert_eq!(header("/a?x=y+z", "x-own").as_deref(), Some("1"));
    assert_eq!(header("/b", "content-type").as_deref(), Some("application/json"));
    assert_eq!(header("/c", "authorization").as_deref(), Some("Basic dTpw"));
}

#[test]
fn jsonwebtoken_signs_and_verifies() {
    works(
        "jsonwebtoken",
        "jsonwebtoken",
        "const jwt = require('jsonwebtoken');
         const { generateKeyPairSync } = require('crypto');
         const token = jwt.sign({ a: 1 }, 's3cret', { expiresIn: '1h', audience: 'aud', subject: 'me' });
         const read = jwt.verify(token, 's3cret', { audience: 'aud' });
         same([read.a, read.sub, read.exp - read.iat], [1, 'me', 3600]);
         assert.throws(() => jwt.verify(token, 'another'), { name: 'JsonWebTokenError', message: 'invalid signature' });
         assert.throws(() => jwt.verify(jwt.sign({}, 's', { expiresIn: -1 }), 's'), { name: 'TokenExpiredError' });
         is(jwt.decode(token, { complete: true }).header.alg, 'HS256');
         for (const [algorithm, type, options] of [
           ['RS256', 'rsa', { modulusLength: 2048 }], ['PS256', 'rsa', { modulusLength: 2048 }], ['ES256', 'ec', { namedCurve: 'P-256' }], ['ES384', 'ec', { namedCurve: 'P-384' }],
         ]) {
           const { privateKey, publicKey } = generateKeyPairSync(type, {
             ...options, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
           });
           const signed = jwt.sign({ alg: algorithm }, privateKey, { algorithm, keyid: 'k1' });
           is(jwt.verify(signed, publicKey, { algorithms: [algorithm] }).alg, algorithm);
           const other = generateKeyPairSync(type, options).publicKey;
           assert.throws(() => jwt.verify(signed, other, { algorithms: [algorithm] }), /invalid signature/, algorithm);
           const late = await new Promise((resolve, reject) => {
             jwt.verify(signed, (header, done) => done(null, publicKey), { algorithms: [algorithm] }, (error, read) => (error ? reject(error) : resolve(read)));
           });
           is(late.alg, algorithm);
         }",
    );
}

/// What both majors of `jose` do.
const JOSE: &str = "
  for (const alg of ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']) {
    const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
    const token = await new jose.SignJWT({ a: alg }).setProtectedHeader({ alg, kid: alg }).setIssuer('iss').setExpirationTime('1h').sign(privateKey);
    is((await jose.jwtVerify(token, publicKey, { issuer: 'iss' })).payload.a, alg);
    const jwk = { ...await jose.exportJWK(publicKey), kid: alg, alg };
    const set = jose.createLocalJWKSet({ keys: [jwk] });
    is((await jose.jwtVerify(token, set)).protectedHeader.kid, alg);
    is((await jose.jwtVerify(token, await jose.importJWK(jwk, alg))).payload.a, alg);
    is((await jose.jwtVerify(token, await jose.importSPKI(await jose.exportSPKI(publicKey), alg))).payload.a, alg);
    const again = await jose.importPKCS8(await jose.exportPKCS8(privateKey), alg);
    const signed = await new jose.SignJWT({}).setProtectedHeader({ alg }).sign(again);
    ok(await jose.jwtVerify(signed, publicKey));
    const other = await jose.generateKeyPair(alg);
    await assert.rejects(jose.jwtVerify(token, other.publicKey), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' });
    await assert.rejects(jose.jwtVerify(token, publicKey, { issuer: 'another' }), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' });
    is((await jose.calculateJwkThumbprint(jwk)).length, 43);
  }
  const secret = new TextEncoder().encode('a secret of thirty-two bytes, ok');
  const symmetric = await new jose.SignJWT({ s: 1 }).setProtectedHeader({ alg: 'HS256' }).sign(secret);
  is((await jose.jwtVerify(symmetric, secret)).payload.s, 1);
  for (const [alg, key] of [['dir', secret], ['A256KW', secret], ['RSA-OAEP-256', null], ['ECDH-ES+A128KW', null]]) {
    const pair = key ? { publicKey: key, privateKey: key } : await jose.generateKeyPair(alg);
    const enc = alg === 'dir' ? 'A256GCM' : 'A128CBC-HS256';
    const sealed = await new jose.EncryptJWT({ hidden: alg }).setProtectedHeader({ alg, enc }).encrypt(pair.publicKey);
    is((await jose.jwtDecrypt(sealed, pair.privateKey)).payload.hidden, alg);
  }
  is(jose.decodeJwt(symmetric).s, 1);";

#[test]
fn jose_5_signs_verifies_and_encrypts() {
    works("jose-5", "jose", &format!("const jose = require('jose');{JOSE}"));
}

#[test]
fn jose_6_an_ecmascript_module_is_required() {
    works(
        "jose-6",
        "jose",
        &format!("const jose = require('jose');{JOSE}\nis((await import('jose')).SignJWT, jose.SignJWT);"),
    );
}

#[test]
fn lodash_works() {
    works(
        "lodash",
        "lodash",
        "const _ = require('lodash');
         same(_.groupBy([1.2, 1.8, 2.1], Math.floor), { 1: [1.2, 1.8], 2: [2.1] });
         same(_.merge({ a: { b: 1 } }, { a: { c: [2] } }), { a: { b: 1, c: [2] } });
         is(_.template('hello <%= user %>!')({ user: 'fred' }), 'hello fred!');
         is(_.camelCase('Foo Bar'), 'fooBar');
         const deep = { when: new Date(1), list: [Buffer.from('a')] };
         ok(_.isEqual(_.cloneDeep(deep), deep));
         is(await new Promise((resolve) => { _.debounce(resolve, 1)('late'); }), 'late');
         is(require('lodash/fp').map((x) => x * 2)([1])[0], 2);",
    );
}

/// What both majors of `uuid` do: the one is CommonJS, the other ECMAScript modules.
const UUIDS: &str = "
  const { v1, v3, v4, v5, v7, validate, version, NIL } = require('uuid');
  ok(validate(v4()) && version(v4()) === 4 && version(v7()) === 7 && version(v1()) === 1);
  is(v5('hello.example.com', v5.DNS), 'fdda765f-fc57-5604-a269-52a7df8164ec');
  is(v3('hello.example.com', v3.DNS), '9125a8dc-52ee-365b-a5aa-81b0b3681cf6');
  ok(validate(NIL));";

#[test]
fn uuid_works() {
    works("uuid", "uuid", UUIDS);
    works("uuid-14", "uuid", UUIDS);
}

#[test]
fn moment_works() {
    works(
        "moment",
        "moment",
        "const moment = require('moment');
         is(moment.utc('2026-01-31T10:00:00Z').add(1, 'month').format('YYYY-MM-DD dddd'), '2026-02-28 Saturday');
         is(moment.duration(90, 'minutes').humanize(), '2 hours');
         is(moment().utc().format('YYYY-MM-DDTHH'), '2026-01-01T10');
         ok(moment('2026-02-30', 'YYYY-MM-DD', true).isValid() === false);
         moment.locale('de');
         require('moment/locale/de');
         is(moment.utc('2026-03-01').locale('de').format('MMMM'), 'März');",
    );
}

/// What both majors of `node-fetch` do.
const FETCHES: &str = "
  const got = await fetch('https://tenant.example/x', { headers: { 'X-Own': '1' } });
  same([got.ok, got.status, (await got.json()).url], [true, 200, '/x']);
  const posted = await fetch('https://tenant.example/y', { method: 'POST', body: JSON.stringify({ a: 1 }), headers: { 'Content-Type': 'application/json' } });
  is((await posted.json()).body, '{\"a\":1}');
  const landed = await fetch('https://tenant.example/redirect');
  same([landed.redirected, landed.url, (await landed.json()).url], [true, 'https://tenant.example/landed', '/landed']);
  is((await fetch('https://tenant.example/missing')).status, 404);
  const refused = await fetch('https://refused.example/').catch((error) => error);
  same([refused.name, refused.code], ['FetchError', 'ECONNREFUSED']);
  let all = '';
  for await (const chunk of (await fetch('https://tenant.example/stream')).body) all += chunk.toString();
  is(JSON.parse(all).url, '/stream');";

#[test]
fn node_fetch_2_asks() {
    works("node-fetch-2", "node-fetch", &format!("const fetch = require('node-fetch');{FETCHES}"));
}

#[test]
fn node_fetch_3_an_ecmascript_module_asks() {
    works(
        "node-fetch-3",
        "node-fetch",
        &format!(
            "const {{ default: fetch, Headers }} = require('node-fetch');{FETCHES}\nis(new Headers({{ A: '1' }}).get('a'), '1');"
        ),
    );
}

#[test]
fn slack_is_told() {
    slack("@slack/webhook");
}

#[test]
fn slack_is_told_by_the_newest() {
    slack("slack-webhook-8");
}

fn slack(alias: &str) {
    let asked = works(
        alias,
        "@slack/webhook",
        "const { IncomingWebhook } = require('@slack/webhook');
         const hook = new IncomingWebhook('https://tenant.example/hook', { username: 'curfew' });
         same(await hook.send({ text: 'somebody logged in' }), { text: 'ok' });
         await new IncomingWebhook('https://refused.example/').send('x').then(() => assert.fail(), (error) => is(error.code, 'slack_webhook_request_error'));",
    );
    assert_eq!(asked.len(), 1);
    let sent: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(sent["text"], "somebody logged in");
}
