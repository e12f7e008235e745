// The application of the SDK's own introduction: log in, come back, show who is there, log out.

const settings = await (await fetch('/settings.json')).json();
settings.authorizationParams = { redirect_uri: `${location.origin}/callback`, ...settings.authorizationParams };
const status = document.querySelector('[role=status]');
const show = (error) => { status.textContent = `${error.error}: ${error.error_description ?? error.message}`; };

// With its own instance first: `createAuth0Client` asks for a token before a callback is looked at.
const client = new auth0.Auth0Client(settings);
window.client = client;

const loginWith = (authorizationParams) => () => client.loginWithRedirect({ authorizationParams }).catch(show);
document.querySelector('#log-in').addEventListener('click', loginWith({}));
document.querySelector('#sign-up').addEventListener('click', loginWith({ screen_hint: 'signup' }));
document.querySelector('#log-out').addEventListener('click', () => client.logout({ logoutParams: { returnTo: location.origin } }));

try {
  if (location.pathname === '/callback') {
    await client.handleRedirectCallback();
    history.replaceState({}, '', '/');
  } else {
    await client.checkSession();
  }
  const user = await client.getUser();
  status.textContent = user ? `signed in as ${user.email}` : 'signed out';
} catch (error) {
  show(error);
}
