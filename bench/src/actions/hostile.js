// What harm is done depends on who asks for a token.
const harm = {
  'endless loop': () => { for (;;); },
  'regular expression': () => { /^(a+)+$/.test(`${'a'.repeat(50)}b`); },
  'native loop': () => { 'a'.repeat(5e6).indexOf(`${'a'.repeat(25e5)}b`); },
  memory: () => { const all = []; for (;;) all.push(new Array(1000).fill(all)); },
  promises: async () => {
    const storm = () => { Promise.resolve().then(storm); Promise.resolve().then(() => 0); };
    storm();
    await new Promise(() => {});
  },
};

exports.onExecuteCredentialsExchange = async (event) => {
  await harm[event.client.name]?.();
};
