"""Two APIs behind guards: Starlette served by uvicorn, whose guard refuses what it cannot know; and Flask served by
werkzeug, whose guard asks.

Says where they are, as JSON on one line, once both check tokens from memory alone; ends with its standard input.
"""

import json
import os
import socket
import sys
import threading

import flask
import uvicorn
import werkzeug.serving
from curfew_guard import Guard, GuardASGI, GuardWSGI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def starlette_things(request):
    return JSONResponse(request.auth)


def flask_things():
    return flask.request.environ["curfew.claims"]


def serve_starlette(guard):
    application = Starlette(routes=[Route("/things", starlette_things)])
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(GuardASGI(application, guard, ["read:things"]), log_level="error")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=[[listener]], daemon=True).start()
    return listener.getsockname()[1]


def serve_flask(guard):
    application = flask.Flask("things")
    application.add_url_rule("/things", view_func=flask_things)
    application.wsgi_app = GuardWSGI(application.wsgi_app, guard, ["read:things"])

    class Quiet(werkzeug.serving.WSGIRequestHandler):
        def log(self, *_):
            pass

    server = werkzeug.serving.make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.port


def guard(stale):
    return Guard(
        os.environ["CURFEW_ISSUER"],
        os.environ["CURFEW_AUDIENCE"],
        os.environ["CURFEW_CLIENT_ID"],
        os.environ["CURFEW_CLIENT_SECRET"],
        stale=stale,
    )


with guard("refuse") as refusing, guard("introspect") as asking:
    for each in (refusing, asking):
        if not each.wait_ready(timeout=20):
            sys.exit(f"the guard has no view: {each.status()}")
    places = {"starlette": serve_starlette(refusing), "flask": serve_flask(asking)}
    print(json.dumps(places), flush=True)
    sys.stdin.read()
