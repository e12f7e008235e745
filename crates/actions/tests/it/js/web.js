// What browsers have. Each function is one test; it holds in Node as it does here.
const assert = require('assert');
const { rejects, throws, deepStrictEqual: same, strictEqual: is, ok } = assert;

exports.url = () => {
  const url = new URL('../b/c?x=1&x=2#frag', 'https://user:pw@host.example:8443/a/z/y');
  is(url.href, 'https://user:pw@host.example:8443/a/b/c?x=1&x=2#frag');
  same([url.protocol, url.host, url.hostname, url.port, url.pathname, url.search, url.hash, url.origin, url.username, url.password],
    ['https:', 'host.example:8443', 'host.example', '8443', '/a/b/c', '?x=1&x=2', '#frag', 'https://host.example:8443', 'user', 'pw']);
  same(url.searchParams.getAll('x'), ['1', '2']);
  url.searchParams.append('y', 'a b&c');
  is(url.search, '?x=1&x=2&y=a+b%26c');
  url.search = '?only=ü';
  is(url.searchParams.get('only'), 'ü');
  url.port = '443';
  url.pathname = '/p q';
  url.hash = '';
  is(url.href, 'https://user:pw@host.example/p%20q?only=%C3%BC');
  is(JSON.stringify({ url }), `{"url":"${url.href}"}`);
  throws(() => new URL('no address'), { name: 'TypeError', code: 'ERR_INVALID_URL' });
  is(URL.canParse('x', 'https://h'), true);
  is(new URL('https://EXAMPLE.com:443/%7Efoo/../bar').href, 'https://example.com/bar');
  is(new URL('https://bücher.example').hostname, 'xn--bcher-kva.example');
};

exports.searchParams = () => {
  const params = new URLSearchParams({ b: '2', a: '1 +' });
  params.append('b', '3');
  params.sort();
  is(params.toString(), 'a=1+%2B&b=2&b=3');
  is(params.size, 3);
  params.set('b', '4');
  params.delete('a');
  same([...params], [['b', '4']]);
  is(new URLSearchParams('?x=%E4%BD%A0&y=%zz&z').get('x'), '你');
  is(new URLSearchParams('y=%zz').get('y'), '%zz');
  is(new URLSearchParams([['q', '~*-._']]).toString(), 'q=%7E*-._');
  throws(() => new URLSearchParams([['a']]), TypeError);
  ok(params.has('b', '4') && !params.has('b', '5'));
};

exports.text = () => {
  same([...new TextEncoder().encode('aé€😀\uD800')], [97, 195, 169, 226, 130, 172, 240, 159, 152, 128, 239, 191, 189]);
  same(new TextEncoder().encodeInto('é€', new Uint8Array(3)), { read: 1, written: 2 });
  const decoder = new TextDecoder();
  const bytes = new TextEncoder().encode('a€😀');
  let text = '';
  for (const byte of bytes) text += decoder.decode(new Uint8Array([byte]), { stream: true });
  is(text + decoder.decode(), 'a€😀');
  is(new TextDecoder().decode(new Uint8Array([0xEF, 0xBB, 0xBF, 65, 0xFF])), 'A\uFFFD');
  throws(() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([0xFF])), TypeError);
  is(new TextDecoder('utf-16le').decode(new Uint8Array([0x3D, 0xD8, 0x00, 0xDE])), '😀');
  is(new TextDecoder('latin1').decode(new Uint8Array([0x41, 0xE9])), 'Aé');
  is(btoa('hällo'), 'aORsbG8=');
  is(atob(' aOR sbG8 '), 'hällo');
  throws(() => btoa('€'), { name: 'InvalidCharacterError' });
  throws(() => atob('a'), { name: 'InvalidCharacterError' });
};

exports.events = async () => {
  const target = new EventTarget();
  const seen = [];
  target.addEventListener('a', (event) => seen.push([event.type, event.detail, event.target === target]), { once: true });
  target.dispatchEvent(new CustomEvent('a', { detail: 7 }));
  target.dispatchEvent(new Event('a'));
  same(seen, [['a', 7, true]]);
  const controller = new AbortController();
  const any = AbortSignal.any([controller.signal, AbortSignal.timeout(60_000)]);
  controller.abort(new Error('enough'));
  ok(any.aborted && any.reason.message === 'enough');
  throws(() => controller.signal.throwIfAborted(), /enough/);
  is(AbortSignal.abort().reason.name, 'AbortError');
  const timed = AbortSignal.timeout(5);
  await new Promise((resolve) => { timed.onabort = resolve; });
  is(timed.reason.name, 'TimeoutError');
  ok(new DOMException('m', 'AbortError') instanceof Error);
  is(new DOMException('m', 'AbortError').code, 20);
};

exports.timers = async () => {
  const order = [];
  const interval = setInterval(() => order.push('i'), 5);
  const gone = setTimeout(() => order.push('never'), 1);
  clearTimeout(Number(gone));
  await new Promise((resolve) => {
    setTimeout((...values) => { order.push(...values); }, 0, 'a', 'b');
    const wait = () => (order.filter((one) => one === 'i').length >= 2 ? resolve() : setTimeout(wait, 1));
    wait();
  });
  clearInterval(interval);
  ok(order.includes('a') && order.includes('b') && !order.includes('never'));
  const timer = setTimeout(() => {}, 60_000);
  is(timer.unref(), timer);

  clearTimeout(timer);
  const micro = [];
  queueMicrotask(() => micro.push(1));
  await null;
  same(micro, [1]);
  await new Promise((resolve) => { setImmediate(resolve); });
  throws(() => setTimeout('code'), { code: 'ERR_INVALID_ARG_TYPE' });
};

exports.headers = () => {
  const headers = new Headers({ 'X-B': '2', 'x-a': ' 1 ' });
  headers.append('x-b', '3');
  headers.append('Set-Cookie', 'a=1');
  headers.append('Set-Cookie', 'b=2');
  same([...headers], [['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['x-a', '1'], ['x-b', '2, 3']]);
  same(headers.getSetCookie(), ['a=1', 'b=2']);
  is(headers.get('nothing'), null);
  throws(() => headers.set('bad name', 'x'), TypeError);
  throws(() => headers.set('x', 'a\r\nb: c'), TypeError);
  throws(() => headers.set('x', '€'), TypeError);
};

exports.bodies = async () => {
  const request = new Request('https://host.example/#x', { method: 'post', body: new URLSearchParams({ a: '1' }) });
  is(request.method, 'POST');
  is(request.headers.get('content-type'), 'application/x-www-form-urlencoded;charset=UTF-8');
  is(await request.clone().text(), 'a=1');
  is((await request.formData()).get('a'), '1');
  await rejects(request.text(), TypeError);
  throws(() => new Request('https://h', { body: 'x' }), TypeError);
  const response = Response.json({ a: [1] }, { status: 201 });
  is(response.status, 201);
  is(response.headers.get('content-type'), 'application/json');
  const copy = response.clone();
  same(await response.json(), { a: [1] });
  is(response.bodyUsed, true);
  same([...await copy.bytes?.() ?? new Uint8Array(await copy.arrayBuffer())].length, 9);
  await rejects(new Response('{').json(), SyntaxError);
  throws(() => new Response(null, { status: 99 }), RangeError);
  const chunks = [];
  for await (const chunk of new Response('streamed').body) chunks.push(chunk);
  is(Buffer.concat(chunks).toString(), 'streamed');
};

exports.blobsAndForms = async () => {
  const blob = new Blob(['a', new Uint8Array([98]), new Blob(['c'])], { type: 'Text/Plain' });
  is(await blob.text(), 'abc');
  same([blob.size, blob.type], [3, 'text/plain']);
  is(await blob.slice(1, 2).text(), 'b');
  const form = new FormData();
  form.append('field', 'v\n"');
  form.append('file', blob, 'na"me.txt');
  form.append('field', 'w');
  same(form.getAll('field'), ['v\n"', 'w']);
  const sent = new Response(form);
  const type = sent.headers.get('content-type');
  ok(/^multipart\/form-data; boundary=/.test(type));
  const back = await new Response(await sent.arrayBuffer(), { headers: { 'content-type': type } }).formData();
  is(back.get('field'), 'v\r\n"');
  is(await back.get('file').text(), 'abc');
  ok(back.get('file') instanceof File);
};

exports.streams = async () => {
  const source = new ReadableStream({ start(controller) { controller.enqueue('a'); controller.enqueue('b'); controller.close(); } });
  const upper = new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk.toUpperCase()); }, flush(controller) { controller.enqueue('!'); } });
  const seen = [];
  for await (const chunk of source.pipeThrough(upper)) seen.push(chunk);
  same(seen, ['A', 'B', '!']);
  const [one, other] = new Response('xyz').body.tee();
  same([await new Response(one).text(), await new Response(other).text()], ['xyz', 'xyz']);
  const written = [];
  const writer = new WritableStream({ write(chunk) { written.push(chunk); } }).getWriter();
  await writer.write(1);
  await writer.close();
  same(written, [1]);
  const failing = new ReadableStream({ pull(controller) { controller.error(new Error('broken')); } });
  await rejects(failing.getReader().read(), /broken/);
  const locked = new ReadableStream();
  locked.getReader();
  ok(locked.locked);
  throws(() => locked.getReader(), TypeError);
};

exports.clones = () => {
  const date = new Date(5);
  const from = { list: [1, , 3], map: new Map([[1, { a: 1 }]]), set: new Set(['x']), date, bytes: new Uint8Array([1, 2]), re: /a/gi, nested: {} };
  from.nested.self = from;
  const to = structuredClone(from);
  ok(to !== from && to.nested.self === to && to.date.getTime() === 5 && to.date !== date);
  same(to.map.get(1), { a: 1 });
  same([...to.bytes], [1, 2]);
  ok(!(1 in to.list) && to.re.flags === 'gi');
  throws(() => structuredClone(() => {}), { name: 'DataCloneError' });
  is(structuredClone(new RangeError('r')).message, 'r');
};

exports.webcrypto = async () => {
  const { subtle } = crypto;
  const hex = (bytes) => Buffer.from(bytes).toString('hex');
  const abc = new TextEncoder().encode('abc');
  is(hex(await subtle.digest('SHA-256', abc)), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  ok(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()));
  ok(crypto.getRandomValues(new Uint8Array(16)).some((byte) => byte !== 0));
  for (const [algorithm, use] of [
    [{ name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }, 'RSASSA-PKCS1-v1_5'],
    [{ name: 'RSA-PSS', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }, { name: 'RSA-PSS', saltLength: 32 }],
    [{ name: 'ECDSA', namedCurve: 'P-256' }, { name: 'ECDSA', hash: 'SHA-256' }],
    [{ name: 'ECDSA', namedCurve: 'P-384' }, { name: 'ECDSA', hash: 'SHA-384' }],
    [{ name: 'Ed25519' }, 'Ed25519'],
  ]) {
    const { privateKey, publicKey } = await subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const signature = await subtle.sign(use, privateKey, abc);
    is(await subtle.verify(use, publicKey, signature, abc), true, algorithm.name);
    is(await subtle.verify(use, publicKey, signature, new Uint8Array([1])), false, algorithm.name);
    const again = await subtle.importKey('jwk', await subtle.exportKey('jwk', privateKey), algorithm, false, ['sign']);
    is(await subtle.verify(use, publicKey, await subtle.sign(use, again, abc), abc), true, `${algorithm.name} by JWK`);
    const spki = await subtle.importKey('spki', await subtle.exportKey('spki', publicKey), algorithm, true, ['verify']);
    is(await subtle.verify(use, spki, signature, abc), true, `${algorithm.name} by SPKI`);
    await rejects(subtle.exportKey('pkcs8', again), { name: 'InvalidAccessError' });
  }
  const key = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt', 'decrypt']);
  const sealed = await subtle.encrypt({ name: 'AES-GCM', iv: new Uint8Array(12), additionalData: abc }, key, abc);
  is(sealed.byteLength, 19);
  is(hex(await subtle.decrypt({ name: 'AES-GCM', iv: new Uint8Array(12), additionalData: abc }, key, sealed)), '616263');
  await rejects(subtle.decrypt({ name: 'AES-GCM', iv: new Uint8Array(12) }, key, sealed), { name: 'OperationError' });
  const password = await subtle.importKey('raw', new TextEncoder().encode('password'), 'PBKDF2', false, ['deriveBits']);
  const bits = await subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: new TextEncoder().encode('salt'), iterations: 2 }, password, 256);
  is(hex(bits), 'ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43');
  const [alice, bob] = await Promise.all([1, 2].map(() => subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits'])));
  is(hex(await subtle.deriveBits({ name: 'ECDH', public: bob.publicKey }, alice.privateKey, 256)),
    hex(await subtle.deriveBits({ name: 'ECDH', public: alice.publicKey }, bob.privateKey, 256)));
  const hmac = await subtle.importKey('jwk', { kty: 'oct', k: 'c2VjcmV0' }, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
  is(await subtle.verify('HMAC', hmac, await subtle.sign('HMAC', hmac, abc), abc), true);
  await rejects(subtle.sign('HMAC', key, abc), { name: 'InvalidAccessError' });
  await rejects(subtle.digest('MD4', abc), { name: 'NotSupportedError' });
};
