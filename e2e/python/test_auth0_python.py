"""auth0-python against a running Curfew: management, tokens, and the nulls it sends."""

import asyncio
import gc
import os
import time
import unittest
import uuid

from auth0.authentication import Database, GetToken, RevokeToken, Users
from auth0.authentication.exceptions import Auth0Error
from auth0.authentication.token_verifier import (
    AsymmetricSignatureVerifier,
    TokenVerifier,
)
from auth0.management import AsyncManagementClient, ManagementClient
from auth0.management.core.api_error import ApiError

# The client imports its parts when they are first used. A socket of an earlier client that is collected in the middle
# of that breaks the import lock of CPython before 3.12 (python/cpython#91351), so nothing is collected here.
gc.disable()

DOMAIN = os.environ["CURFEW_DOMAIN"]
CREDENTIALS = {
    "client_id": os.environ["CURFEW_CLIENT_ID"],
    "client_secret": os.environ["CURFEW_CLIENT_SECRET"],
}
CONNECTION = "Username-Password-Authentication"
PASSWORD = "A-fine-Password-1"


def new_email():
    return f"{uuid.uuid4()}@example.com"


class Management(unittest.TestCase):
    """The synchronous and the asynchronous client of the Management API."""

    def setUp(self):
        self.management = ManagementClient(domain=DOMAIN, **CREDENTIALS)

    def test_users_from_birth_to_death(self):
        email = new_email()
        users = self.management.users
        created = users.create(connection=CONNECTION, email=email, password=PASSWORD)
        self.assertEqual(created.email, email)
        self.assertEqual(users.get(created.user_id).user_id, created.user_id)
        self.assertEqual(
            [user.user_id for user in users.list_users_by_email(email=email)],
            [created.user_id],
        )
        self.assertIs(users.update(created.user_id, blocked=True).blocked, True)
        self.assertIs(users.get(created.user_id).blocked, True)
        self.assertEqual(list(users.sessions.list(created.user_id)), [])
        users.delete(created.user_id)
        with self.assertRaises(ApiError) as refused:
            users.get(created.user_id)
        self.assertEqual(refused.exception.status_code, 404)
        self.assertEqual(refused.exception.body["errorCode"], "inexistent_user")

    def test_lists_are_read_page_by_page(self):
        created = [
            self.management.users.create(
                connection=CONNECTION, email=new_email(), password=PASSWORD
            ).user_id
            for _ in range(3)
        ]
        listed = [user.user_id for user in self.management.users.list(per_page=2)]
        self.assertEqual(len(listed), len(set(listed)))
        self.assertTrue(set(created) <= set(listed))

    def test_errors_name_the_field(self):
        with self.assertRaises(ApiError) as refused:
            self.management.users.create(
                connection=CONNECTION, email="no address", password=PASSWORD
            )
        self.assertEqual(refused.exception.status_code, 400)
        self.assertEqual(refused.exception.body["errorCode"], "invalid_body")
        self.assertIn("email", refused.exception.body["message"])

    def test_event_streams(self):
        streams = self.management.event_streams
        created = streams.create(
            request={
                "name": "python",
                "subscriptions": [{"event_type": "user.created"}],
                "destination": {
                    "type": "webhook",
                    "configuration": {
                        "webhook_endpoint": "https://app.example/events",
                        "webhook_authorization": {"method": "bearer", "token": "t"},
                    },
                },
            }
        )
        self.assertEqual((created.name, created.status), ("python", "disabled"))
        self.assertIn(created.id, [stream.id for stream in streams.list()])
        changed = streams.update(created.id, name="renamed", status="enabled")
        self.assertEqual((changed.name, changed.status), ("renamed", "enabled"))
        tested = streams.test(created.id, event_type="user.created")
        self.assertEqual((tested.status, tested.event.type), ("pending", "user.created"))
        self.assertEqual(list(streams.deliveries.list(created.id)), [])
        streams.delete(created.id)
        with self.assertRaises(ApiError) as refused:
            streams.get(created.id)
        self.assertEqual(refused.exception.status_code, 404)

    def test_actions(self):
        actions = self.management.actions
        created = actions.create(
            name=f"python-{uuid.uuid4()}",
            supported_triggers=[{"id": "post-login", "version": "v3"}],
            code="exports.onExecutePostLogin = async () => {};",
            secrets=[{"name": "TOKEN", "value": "what-only-the-Action-may-know"}],
        )
        self.assertEqual([secret.name for secret in created.secrets], ["TOKEN"])
        deadline = time.monotonic() + 60
        while actions.get(created.id).status != "built":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        version = actions.deploy(created.id)
        self.assertEqual((version.number, version.deployed), (1, True))
        self.assertIn(created.id, [action.id for action in actions.list(deployed=True)])
        bindings = actions.triggers.bindings
        ref = {"type": "action_id", "value": created.id}
        bound = bindings.update_many(
            "post-login", bindings=[{"ref": ref, "display_name": "Python"}]
        )
        self.assertEqual([binding.display_name for binding in bound.bindings], ["Python"])
        self.assertEqual(len(list(bindings.list("post-login"))), 1)
        self.assertEqual(bindings.update_many("post-login", bindings=[]).bindings, [])
        again = actions.versions.deploy(
            created.id, version.id, request={"update_draft": True}
        )
        self.assertEqual(again.number, 2)
        self.assertEqual(
            [kept.number for kept in actions.versions.list(created.id)], [2, 1]
        )
        self.assertEqual(len(actions.triggers.list().triggers), 5)
        actions.delete(created.id)
        with self.assertRaises(ApiError) as refused:
            actions.get(created.id)
        self.assertEqual(refused.exception.status_code, 404)

    def test_the_asynchronous_client(self):
        async def read_settings():
            management = AsyncManagementClient(domain=DOMAIN, **CREDENTIALS)
            return await management.tenants.settings.get()

        self.assertEqual(asyncio.run(read_settings()).session_lifetime, 168)


class Tokens(unittest.TestCase):
    """`GetToken` sends what was left out as JSON null; it counts as absent."""

    @classmethod
    def setUpClass(cls):
        cls.management = ManagementClient(domain=DOMAIN, **CREDENTIALS)
        cls.audience = f"https://api.example.com/{uuid.uuid4()}"
        cls.management.resource_servers.create(
            name=f"API {cls.audience}",
            identifier=cls.audience,
            scopes=[{"value": "read:things"}],
            allow_offline_access=True,
        )
        cls.client = cls.management.clients.create(
            name="Python application",
            app_type="regular_web",
            oidc_conformant=True,
            jwt_configuration={"alg": "RS256"},
            grant_types=[
                "password",
                "http://auth0.com/oauth/grant-type/password-realm",
                "client_credentials",
                "refresh_token",
            ],
        )
        cls.management.client_grants.create(
            client_id=cls.client.client_id, audience=cls.audience, scope=["read:things"]
        )
        cls.credentials = (DOMAIN, cls.client.client_id, cls.client.client_secret)
        cls.get_token = GetToken(*cls.credentials)

    def setUp(self):
        self.email = new_email()
        self.user = self.management.users.create(
            connection=CONNECTION, email=self.email, password=PASSWORD
        )

    def log_in(self, **more):
        return self.get_token.login(
            username=self.email,
            password=PASSWORD,
            realm=CONNECTION,
            **{"scope": "openid offline_access", "audience": self.audience, **more},
        )

    def test_login_gives_an_id_token_that_its_verifier_accepts(self):
        tokens = self.log_in()
        verifier = TokenVerifier(
            signature_verifier=AsymmetricSignatureVerifier(
                f"https://{DOMAIN}/.well-known/jwks.json"
            ),
            issuer=f"https://{DOMAIN}/",
            audience=self.client.client_id,
        )
        self.assertEqual(
            verifier.verify(tokens["id_token"])["sub"], self.user.user_id
        )

    def test_login_with_null_scope_and_audience(self):
        tokens = self.log_in(scope=None, audience=None)
        self.assertEqual(tokens["token_type"], "Bearer")
        self.assertNotIn("refresh_token", tokens)

    def test_login_with_a_null_realm_uses_the_default_directory(self):
        self.management.tenants.settings.update(default_directory=CONNECTION)
        tokens = self.get_token.login(
            username=self.email,
            password=PASSWORD,
            grant_type="password",
            scope="openid",
        )
        profile = Users(DOMAIN).userinfo(tokens["access_token"])
        self.assertEqual(profile["sub"], self.user.user_id)

    def test_client_credentials_with_a_null_organization(self):
        tokens = self.get_token.client_credentials(self.audience)
        self.assertEqual(tokens["expires_in"], 86400)

    def test_refresh_with_an_empty_scope_then_revoke(self):
        refresh_token = self.log_in()["refresh_token"]
        refreshed = self.get_token.refresh_token(refresh_token)
        self.assertIn("openid", refreshed["scope"].split())
        RevokeToken(*self.credentials).revoke_refresh_token(refresh_token)
        with self.assertRaises(Auth0Error) as refused:
            self.get_token.refresh_token(refresh_token)
        self.assertEqual(refused.exception.status_code, 403)
        self.assertEqual(refused.exception.error_code, "invalid_grant")
        self.assertEqual(
            refused.exception.message, "Unknown or invalid refresh token."
        )

    def test_a_blocked_user_is_told_so(self):
        refresh_token = self.log_in()["refresh_token"]
        self.management.users.update(self.user.user_id, blocked=True)
        with self.assertRaises(Auth0Error) as refused:
            self.get_token.refresh_token(refresh_token)
        self.assertEqual(refused.exception.message, "user is blocked")
        with self.assertRaises(Auth0Error) as refused:
            self.log_in()
        self.assertEqual(refused.exception.error_code, "unauthorized")
        self.assertEqual(refused.exception.message, "user is blocked")

    def test_a_wrong_password(self):
        with self.assertRaises(Auth0Error) as refused:
            self.get_token.login(
                username=self.email, password="not-the-Password-1", realm=CONNECTION
            )
        self.assertEqual(refused.exception.status_code, 403)
        self.assertEqual(refused.exception.error_code, "invalid_grant")
        self.assertEqual(refused.exception.message, "Wrong email or password.")

    def test_sign_up_and_ask_for_a_new_password(self):
        database = Database(DOMAIN, self.client.client_id)
        email = new_email()
        signed_up = database.signup(
            email=email, password=PASSWORD, connection=CONNECTION
        )
        self.assertEqual(signed_up["email"], email)
        self.assertEqual(
            database.change_password(email=email, connection=CONNECTION),
            "We've just sent you an email to reset your password.",
        )


if __name__ == "__main__":
    unittest.main()
