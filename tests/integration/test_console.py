# SPDX-License-Identifier: Apache-2.0
"""The console's API: who may, what it answers (docs/openapi.yaml, to the letter), what hostile clients cost."""

import contextlib
import gzip
import html.parser
import http.client
import itertools
import json
import pathlib
import re
import resource
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest
import urllib.parse

import jsonschema
import yaml

from harness import authority, backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Scratch, wait_until

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
API = yaml.safe_load((DOCS / "openapi.yaml").read_text())
JSON_SCHEMA = json.loads((DOCS / "json.schema.json").read_text())
PASSWORD = "correct horse battery"

scratch = gateway = mail = None
console_port = None
tokens = {}
seen = set()  # (method, path of the document, status)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def ask(method, path, body=None, token="admin", headers=None, port=None, context=None):
    """A request to the console; `token` is a role's, or None."""
    port = port or console_port
    connection = (http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context) if context else
                  http.client.HTTPConnection("127.0.0.1", port, timeout=30))
    with contextlib.closing(connection):
        sent = dict(headers or {})
        if token:
            sent.setdefault("Authorization", "Bearer " + tokens.get(token, token))
        if method not in ("GET", "HEAD"):
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, "/api/v1" + path, json.dumps(body) if isinstance(body, (dict, list)) else body, sent)
        got = connection.getresponse()
        return Answer(got.status, got.headers, got.read().decode())


def ask_socket(method, path, body=None):
    connection = http.client.HTTPConnection("mailgate", timeout=30)
    with contextlib.closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(gateway.socket))
        connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None)
        got = connection.getresponse()
        return Answer(got.status, got.headers, got.read().decode())


def raw(data, seconds=20):
    """What comes for bytes that no library would send."""
    with socket.create_connection(("127.0.0.1", console_port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while block := connection.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
        return answer.decode(errors="replace")


def add_token(name, role, *words):
    done = gateway.run("console", "token", "add", name, "--role", role, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def setUpModule():
    global scratch, gateway, mail, console_port
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    mail = scratch.start(backend.Backend(backend.smtp))
    console_port = reserve_port()
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)], admin={"socket": "mailgate.sock"},
        console={"address": f"127.0.0.1:{console_port}", "trusted_proxies": "127.0.0.9", "user_header": "X-Remote-User"}))
    for role in ("viewer", "operator", "admin"):
        done = gateway.run("console", "user", "add", role + "-person", "--role", role, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        tokens[role] = add_token(role, role)
    # Sessions end in any order when they are over at about the same time.
    for number, (client, sender) in enumerate({"198.51.100.7": "alice@partner.example", "198.51.100.8": "carol@partner.example"}.items(), 1):
        send_mail(client, sender)
        wait_until(lambda: len(gateway.run("sessions", "--json").stdout.splitlines()) >= number, "the session")


def send_mail(client, sender):
    with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client)) as connection:
        connection.ehlo(sender.split("@")[1])
        connection.sendmail(sender, ["bob@example.net"], b"Subject: x\r\n\r\nx\r\n")


# ---- the document


def resolved(schema):
    """With references of the document and of docs/json.schema.json as ones within the schema itself."""
    if isinstance(schema, dict):
        if reference := schema.get("$ref"):
            reference = reference.replace("json.schema.json#/$defs/", "#/$defs/").replace("#/components/schemas/", "#/$defs/api_")
            return {**schema, "$ref": reference}
        return {key: resolved(value) for key, value in schema.items()}
    return [resolved(item) for item in schema] if isinstance(schema, list) else schema


DEFINITIONS = {**JSON_SCHEMA["$defs"], **{"api_" + name: resolved(schema) for name, schema in API["components"]["schemas"].items()}}


def path_of(target):
    """The path of the document that it is one of: fixed names first."""
    path = target.split("?")[0]
    for pattern in sorted(API["paths"], key=lambda pattern: pattern.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return pattern
    raise AssertionError(f"{path} is not in docs/openapi.yaml")


class Console(unittest.TestCase):
    maxDiff = None

    def holds(self, method, target, answer, status=None):
        """The answer is what the document says it is."""
        if status is not None:
            self.assertEqual(answer.status, status, answer.body)
        pattern = path_of(target)
        responses = API["paths"][pattern][method.lower()]["responses"]
        response = responses.get(str(answer.status), responses["default"])
        if reference := response.get("$ref"):
            response = API["components"]["responses"][reference.rsplit("/", 1)[1]]
        [(content_type, content)] = response["content"].items()
        self.assertEqual(answer.headers["Content-Type"], content_type)
        schema = {**resolved(content["schema"]), "$defs": DEFINITIONS}
        errors = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
                  for error in jsonschema.Draft202012Validator(schema).iter_errors(answer.json)]
        self.assertEqual(errors, [], f"{method} {target}: {answer.body[:2000]}")
        if content_type == "application/problem+json":
            self.assertEqual(answer.json["status"], answer.status)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        seen.add((method, pattern, answer.status))
        return answer

    def get(self, target, status=200, **options):
        return self.holds("GET", target, ask("GET", target, **options), status).json

    def change(self, method, target, body=None, status=200, **options):
        return self.holds(method, target, ask(method, target, body, **options), status)


class Answers(Console):
    def test_the_gateway_and_its_servers(self):
        status = self.get("/status")
        self.assertEqual(status["name"], "gw.example.net")
        self.assertEqual(self.get("/fleet", 404)["code"], "no_fleet")

        def differences():
            """Between what one and the other is told at once, but for what goes on meanwhile."""
            here, there = self.get("/status"), ask_socket("GET", "/status").json
            moving = ("totals", "live", "worker_lag_seconds", "listeners", "servers", "journal")
            return {key for key in {*here, *there} if key not in moving and here.get(key) != there.get(key)}

        # Rules may still be coming into force between the two.
        wait_until(lambda: not differences(), lambda: f"the same status: {differences()}")
        self.assertEqual([server["server"] for server in self.get("/servers")["servers"]], ["mail1"])
        drained = self.change("POST", "/servers/mail/mail1/drain", token="operator").json
        self.assertEqual(drained["admin_state"], "drain")
        server = self.get("/servers")["servers"][0]
        self.assertEqual((server["admin_state"], server["drained_by"]), ("drain", "token operator (console)"))
        self.assertIsNotNone(server["drained_since"])
        self.change("POST", "/servers/mail/mail1/ready", token="operator")
        server = self.get("/servers")["servers"][0]
        self.assertEqual((server["admin_state"], server["drained_since"], server["drained_by"]), ("ready", None, None))
        self.change("POST", "/servers/mail/gone/ready", status=404)
        self.change("POST", "/servers/mail/mail1/burn", status=404)
        self.change("POST", "/servers/mail/gone/probe", status=404)
        gateway.wait_event("admin.order", order="drain", target="mail/mail1", user="token operator (console)")

    def test_what_is_not_described_is_refused(self):
        for target in ("/status", "/servers", "/fleet", "/configuration", "/snippets", "/rules", "/rules/sets", "/sessions", "/sessions/live", "/sessions/day"):
            with self.subTest(target=target):
                self.assertEqual(self.get(target + "?nothing=1", 400)["code"], "unknown_parameter")
        for method, target, body in (("POST", "/rules?dry_run=true", {"network": "192.0.2.5", "verdict": "deny"}),
                                     ("POST", "/rules/import?dry_run=true", {"text": "deny 192.0.2.5"}), ("POST", "/rules/undo?dry_run=true", {}),
                                     ("POST", "/servers/mx/mx1/drain?everywhere=true", None), ("POST", "/servers/mx/mx1/probe?x=1", None)):
            with self.subTest(target=target):
                self.assertEqual(ask(method, target, body).json["code"], "unknown_parameter")
        for method, target in (("POST", "/servers/mx/mx1/drain"), ("POST", "/servers/mx/mx1/probe"), ("DELETE", "/rules/1"), ("DELETE", "/sessions/x")):
            with self.subTest(target=target):
                self.assertEqual(ask(method, target, {"everywhere": True}).json["code"], "unknown_member")

    def test_the_configuration_in_force(self):
        configuration = self.get("/configuration")
        self.assertEqual(configuration["sections"]["gateway"]["workers"], "2")
        self.assertEqual([listener["name"] for listener in configuration["listeners"]], ["smtp"])
        self.assertEqual(configuration["upstreams"][0]["servers"][0]["address"], f"127.0.0.1:{mail.port}")
        self.assertEqual(configuration["sections"]["console"]["address"], f'"127.0.0.1:{console_port}"')
        self.assertEqual(configuration["defaults"]["gateway"]["max_sessions"], "50000")
        for what, key, value in (("listener", "access", '"allowlist"'), ("upstream", "rise", None), ("server", "weight", "1")):
            self.assertIn(key, configuration[what + "_defaults"])
            self.assertIn(value, (None, configuration[what + "_defaults"][key]))
        self.assertLessEqual(set(configuration["listener_defaults"]), set(configuration["listeners"][0]["settings"]))
        self.assertNotIn("name", configuration["listener_defaults"], "that has to be there")
        self.assertIn("postfix", [snippet["name"] for snippet in self.get("/snippets")["snippets"]])
        self.assertEqual(self.get("/snippets/postfix")["text"], gateway.run("snippet", "postfix").stdout)
        self.get("/snippets/nothing", 404)

    def test_the_last_day(self):
        day = self.get("/sessions/day")
        self.assertGreaterEqual(day["sessions"], 2)
        self.assertEqual(self.get("/sessions/day", token="viewer"), day, "counted once a minute")

    def test_sessions(self):
        page = self.get("/sessions?limit=1&from=@partner.example")
        self.assertEqual([one["client"] for one in page["sessions"]], ["198.51.100.8"])
        older = self.get(f"/sessions?limit=1&from=@partner.example&cursor={page['next']}")
        self.assertEqual([one["client"] for one in older["sessions"]], ["198.51.100.7"])
        self.assertEqual([one["mail"][0]["from"] for one in self.get("/sessions?from=alice@partner.example")["sessions"]],
                         ["alice@partner.example"])
        self.assertEqual(self.get("/sessions?refused=true")["sessions"], [])
        session = page["sessions"][0]["session"]
        self.assertEqual(self.get(f"/sessions/{session}")["sessions"], page["sessions"])
        self.get("/sessions/0000000000", status=404)
        for wrong in ("limit=0", "limit=501", "limit=x", "cursor=x", "cursor=1", "clinet=192.0.2.1", "client=x", "from=a&from=b",
                      "since=x", "verdict=x", "refused=maybe", "protocol=foo", "tls=x", "end=x", "server=a/b/c", "listener=nosuch", "user=",
                      "listener=", "helo=", "from=@", "queue_id="):
            with self.subTest(wrong=wrong):
                self.get("/sessions?" + wrong, status=400)
        for wrong in ("protocol=foo", "listener=nosuch", "server=mail/gone", "user="):
            with self.subTest(live=wrong):
                self.get("/sessions/live?" + wrong, status=400)
        self.assertEqual(len(self.get("/sessions?protocol=smtp&listener=smtp&server=mail1&end=client_quit&from=@partner.example")["sessions"]), 2)

    def test_lists_have_the_beginning_of_what_a_session_sent(self):
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2("198.18.44.1")) as connection:
            connection.ehlo("many.example")
            for number in range(5):
                connection.sendmail(f"list-{number}@many.example", [f"r{one}@example.net" for one in range(7)], b"Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: ask("GET", "/sessions?client=198.18.44.1").json["sessions"], "the session")
        for token in ("operator", "viewer"):
            [listed] = self.get("/sessions?client=198.18.44.1", token=token)["sessions"]
            self.assertEqual(([one["from"] for one in listed["mail"]], listed["mail_count"]), ([f"list-{number}@many.example" for number in range(3)], 5))
            self.assertEqual([(len(one["recipients"]), one["truncated"], one["recipient_count"]) for one in listed["mail"]], [(5, True, 7)] * 3)
        [listed] = self.get("/sessions?from=list-4@many.example")["sessions"]
        self.assertEqual([one["from"] for one in listed["mail"]], [f"list-{number}@many.example" for number in (0, 1, 4)], "what was asked for is there")
        [whole] = self.get(f"/sessions/{listed['session']}")["sessions"]
        self.assertEqual([len(one["recipients"]) for one in whole["mail"]], [7] * 5)
        self.assertNotIn("mail_count", whole)

    def test_a_search_says_what_it_took_the_text_for(self):
        def search(text, **more):
            return self.get("/sessions?" + urllib.parse.urlencode({"q": text, **more}))
        by_sender = search("alice@partner.example")
        self.assertEqual((by_sender["meaning"]["name"], by_sender["also"]), ("from", []))
        self.assertEqual([one["client"] for one in by_sender["sessions"]], ["198.51.100.7"])
        self.assertEqual(search("bob@example.net")["meaning"]["name"], "to")
        self.assertEqual(search("198.51.100.8")["meaning"], {"name": "client", "words": "a client"})
        self.assertEqual(search("127.0.0.1")["meaning"]["name"], "balancer")
        session = by_sender["sessions"][0]["session"]
        self.assertEqual(search(session[:16])["meaning"]["name"], "session")
        both = search("@partner.example")
        self.assertEqual(both["meaning"]["name"], "from")
        nobody = search("nobody@nowhere.example")
        self.assertEqual((nobody["meaning"], nobody["sessions"]), (None, []))
        self.assertEqual(search("alice@partner.example", **{"as": "to"})["meaning"], None)

    def test_a_session_under_way_can_be_ended(self):
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.99"))) as client:
            proxyclient.read_line(client)
            live = self.get("/sessions/live?client=198.51.100.99")
            self.assertEqual((live["found"], live["sessions"][0]["listener"]), (1, "smtp"))
            self.assertEqual(self.get("/sessions/live?client=192.0.2.0/24")["found"], 0)
            session = live["sessions"][0]["session"]
            self.change("DELETE", f"/sessions/{session}", status=403, token="viewer")
            self.assertTrue(self.change("DELETE", f"/sessions/{session}", token="operator").json["ended"])
            self.assertIn(b"421", proxyclient.read_line(client))
        self.change("DELETE", f"/sessions/{session}", status=404, token="operator")

    def test_viewers_cannot_find_out_what_is_masked(self):
        number = self.change("POST", "/rules", {"network": "192.0.2.131", "verdict": "deny"}, 201).json["changes"][0]["rule"]

        def greeting():
            with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.131"))) as client:
                client.sendall(b"QUIT\r\n")
                return proxyclient.read_line(client)
        wait_until(lambda: greeting().startswith(b"554"), "the rule")
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.132"))) as client:
            proxyclient.read_line(client)
            client.sendall(b"EHLO [192.0.2.132]\r\nMAIL FROM:<x@[192.0.002.132]>\r\n")
            proxyclient.read_reply(client)
            proxyclient.read_reply(client)
            live = self.get("/sessions/live?client=192.0.2.132", token="viewer")
            self.assertNotIn("192.0.2.132", json.dumps(live))
            self.assertEqual(live["sessions"][0]["from"], "x@[192.0.2.0/24]", "in whatever way it is written")
            for query in ("helo=[192.0.2.132]", "helo=.132", "helo=.132]", "helo=.132-dsl.example", "from=x@[192.0.002.132]", "user=192.0.2.132"):
                self.get("/sessions/live?" + query, 403, token="viewer")
            client.sendall(b"QUIT\r\n")
            proxyclient.read_to_end(client)
        wait_until(lambda: self.get("/sessions?client=192.0.2.132")["sessions"], "the session")
        [whole, *_] = wait_until(lambda: self.get("/sessions?client=192.0.2.131&refused=true")["sessions"], "the refused one")
        self.assertEqual(whole["rule_id"], number)
        for one in self.get("/sessions?client=192.0.2.0/24", token="viewer")["sessions"]:
            self.assertNotIn("192.0.2.13", json.dumps(one))
            self.assertIsNone(one.get("rule_id"))
        for query in ("helo=[192.0.2.132]", "helo=[192.0.2.133]", "helo=.132", "helo=.132]", "to=x@[192.0.2.132]", "rule=192.0.2.131", "reply=x", "message_id=1@[192.0.2.132]"):
            with self.subTest(query=query):
                self.get("/sessions?" + query, 403, token="viewer")
        asked = [self.get("/sessions?q=" + text, token="viewer") for text in ("[192.0.2.132]", "[192.0.2.133]")]
        self.assertEqual(*[[answer["meaning"], answer["sessions"]] for answer in asked], "who is there and who is not look alike")

    def test_viewers_see_masked_addresses(self):
        masked = self.get("/sessions?from=@partner.example", token="viewer")["sessions"]
        self.assertEqual({one["client"] for one in masked}, {"198.51.100.0/24"})
        self.assertEqual(len(self.get("/sessions?client=198.51.100.7&from=@partner.example", token="viewer")["sessions"]), len(masked), "as wide")
        self.assertEqual({one["client"] for one in self.get("/sessions?q=198.51.100.7", token="viewer")["sessions"]}, {"198.51.100.0/24"})
        self.assertEqual(self.get(f"/sessions/{masked[0]['session']}", token="viewer")["sessions"][0]["client"], "198.51.100.0/24")
        self.assertNotIn("198.51.100.7", ask("GET", "/sessions", token="viewer").body)
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.99"))) as client:
            proxyclient.read_line(client)
            self.assertEqual(self.get("/sessions/live", token="viewer")["sessions"][0]["client"], "198.51.100.0/24")
            self.assertEqual(self.get("/sessions/live", token="operator")["sessions"][0]["client"], "198.51.100.99")

    def test_rules(self):
        preview = self.change("POST", "/rules", {"network": "198.51.100.7", "verdict": "deny", "dry_run": True}, token="operator").json
        self.assertEqual((preview["dry_run"], preview["added"], preview["sessions"]["decided_otherwise"]), (True, 1, 1))
        self.assertEqual(self.get("/rules?match=198.51.100.7")["rules"], [], "nothing was changed")
        added = self.change("POST", "/rules", {"network": "203.0.113.0/24", "verdict": "deny", "listener": "smtp", "note": "spam",
                                               "expires_at": "7d", "ticket": "4711"}, 201, token="operator").json
        self.assertEqual((added["dry_run"], added["added"]), (False, 1))
        number = added["changes"][0]["rule"]
        rule = self.holds("GET", f"/rules/{number}", ask("GET", f"/rules/{number}"), 200)
        self.assertEqual((rule.json["network"], rule.json["created_by"]), ("203.0.113.0/24", "token operator (console)"))
        self.assertEqual([one["who"] for one in self.get("/rules/history?network=203.0.113.0/24")["changes"]], ["token operator (console)"])
        decision = self.get("/rules/test?address=203.0.113.9&listener=smtp")["decisions"][0]
        self.assertEqual((decision["allowed"], decision["rule"]["id"]), (False, number))
        self.assertEqual([one["id"] for one in self.get("/rules?listener=smtp&note=SPAM&expiring=8d")["rules"]], [number])

        self.change("PATCH", f"/rules/{number}", {"note": "x"}, 428, token="operator")
        first = {"If-Match": rule.headers["ETag"]}
        edited = self.change("PATCH", f"/rules/{number}", {"note": "first"}, 200, token="operator", headers=first)
        late = self.change("PATCH", f"/rules/{number}", {"note": "second"}, 412, token="admin", headers=first).json
        self.assertEqual(late["rule"]["note"], "first", "what there is now comes with the problem")
        self.change("DELETE", f"/rules/{number}", status=412, token="admin", headers=first)
        now = {"If-Match": edited.headers["ETag"]}
        self.assertEqual(self.change("DELETE", f"/rules/{number}?dry_run=true", token="admin", headers=now).json["removed"], 1)
        self.assertEqual(self.change("PATCH", f"/rules/{number}", {"expires_at": None}, token="admin", headers=now).json["changed"], 1)
        self.assertIsNone(self.get(f"/rules/{number}")["expires_at"])
        self.change("DELETE", f"/rules/{number}", token="admin", headers={"If-Match": "*"})
        self.get(f"/rules/{number}", status=404)
        undone = self.change("POST", "/rules/undo", {}, token="admin").json
        self.assertEqual(undone["added"], 1)
        self.assertEqual(self.get(f"/rules/{number}")["note"], "first")
        self.assertIn("first", gateway.access("list"), "the command line sees the same")
        self.change("POST", "/rules/undo", {"change": 999999}, 404)

    def test_rules_are_added_as_the_dry_run_has_said(self):
        order = {"network": "198.51.100.130", "verdict": "deny", "expires_at": "7d"}
        etag = ask("POST", "/rules", {**order, "dry_run": True}, "operator").headers["ETag"]
        self.assertEqual(ask("POST", "/rules", {**order, "dry_run": True}, "operator").headers["ETag"], etag, "seconds later")
        self.assertEqual(ask("POST", "/rules", {**order, "note": "other"}, "operator").status, 201)
        late = ask("POST", "/rules", order, "operator", {"If-Match": etag})
        self.assertEqual((late.status, late.json["code"]), (412, "changed_meanwhile"))
        etag = ask("POST", "/rules", {**order, "note": "again", "dry_run": True}, "operator").headers["ETag"]
        self.assertIn("other", ask("GET", "/rules?match=198.51.100.130").body)
        self.assertEqual(ask("POST", "/rules", {**order, "note": "again"}, "operator", {"If-Match": etag}).status, 201)

    def test_a_change_is_undone_as_the_dry_run_has_said(self):
        deny = {"network": "198.51.100.131", "verdict": "deny"}
        added = ask("POST", "/rules", deny, "operator").json["changes"][0]["change"]
        shown = ask("POST", "/rules/undo", {"change": added, "dry_run": True}, "operator")
        self.assertEqual((shown.status, shown.json["removed"]), (200, 1))
        ask("POST", "/rules", {**deny, "note": "theirs"}, "admin")
        late = ask("POST", "/rules/undo", {"change": added}, "operator", {"If-Match": shown.headers["ETag"]})
        self.assertEqual((late.status, late.json["code"], len(late.json["changes"])), (412, "changed_meanwhile", 1))
        self.change("POST", "/rules/undo", {"change": added}, 409, token="operator")
        theirs = late.json["changes"][0]["change"]
        shown = ask("POST", "/rules/undo", {"change": theirs, "dry_run": True}, "operator").headers["ETag"]
        self.assertEqual(ask("POST", "/rules/undo", {"change": theirs}, "operator", {"If-Match": '"other"'}).status, 412)
        self.assertEqual(ask("POST", "/rules/undo", {"change": theirs}, "operator", {"If-Match": shown}).status, 200)

    def test_the_last_change_is_undone_as_it_was_shown(self):
        def come_and_go(verdict):
            number = self.change("POST", "/rules", {"network": "198.18.7.61", "verdict": verdict}, 201, token="operator").json["changes"][0]["rule"]
            self.change("DELETE", f"/rules/{number}", token="operator", headers={"If-Match": "*"})
        come_and_go("allow")
        shown = ask("POST", "/rules/undo", {"dry_run": True}, "operator").headers["ETag"]
        come_and_go("deny")
        self.assertEqual(ask("POST", "/rules/undo", {}, "operator", {"If-Match": shown}).status, 412, "another rule would come back")
        shown = ask("POST", "/rules/undo", {"dry_run": True}, "operator").headers["ETag"]
        self.assertEqual(ask("POST", "/rules/undo", {}, "operator", {"If-Match": shown}).status, 200)
        self.assertEqual([rule["verdict"] for rule in self.get("/rules?match=198.18.7.61")["rules"]], ["deny"])

    def test_hundreds_of_addresses_are_tested_at_once(self):
        addresses = [f"2001:db8:1111:2222:3333:4444:5555:{number:04x}" for number in range(200)]
        got = ask("GET", "/rules/test?" + urllib.parse.urlencode({"address": addresses}, doseq=True))
        self.assertEqual(len({one["address"] for one in got.json["decisions"]}), 200)

    def test_several_rules_are_removed_as_one_change(self):
        numbers = [self.change("POST", "/rules", {"network": f"192.0.2.{last}", "verdict": "deny"}, 201).json["changes"][0]["rule"] for last in (221, 222)]
        self.change("POST", "/rules/remove", {"ids": numbers}, 428, token="operator")
        self.change("POST", "/rules/remove", {"ids": [*numbers, 999999], "dry_run": True}, 404, token="operator")
        for wrong in ([], ["1"], [1.5], [True], 1, list(range(1001))):
            with self.subTest(wrong=wrong if isinstance(wrong, int) else wrong[:2]):
                self.change("POST", "/rules/remove", {"ids": wrong, "dry_run": True}, 400)
        rehearsed = self.change("POST", "/rules/remove", {"ids": numbers, "dry_run": True}, token="operator")
        self.assertEqual(rehearsed.json["removed"], 2)
        seen_before = {"If-Match": rehearsed.headers["ETag"]}
        self.change("PATCH", f"/rules/{numbers[0]}", {"note": "new"}, headers={"If-Match": "*"})
        self.change("POST", "/rules/remove", {"ids": numbers}, 412, token="operator", headers=seen_before)
        now = self.change("POST", "/rules/remove", {"ids": numbers[::-1] + numbers, "dry_run": True}, token="operator")
        done = self.change("POST", "/rules/remove", {"ids": numbers}, token="operator", headers={"If-Match": now.headers["ETag"]}).json
        self.assertEqual((done["removed"], len({one["change"] for one in done["changes"]})), (2, 1))
        self.assertEqual(self.change("POST", "/rules/undo", {}, token="operator").json["added"], 2)

    def test_a_change_through_the_socket_is_the_users(self):
        answer = ask_socket("POST", "/rules", {"network": "192.0.2.77", "verdict": "deny"})
        self.holds("POST", "/rules", answer, 201)
        listed = self.get("/rules?match=192.0.2.77")["rules"]
        self.assertEqual([rule["created_by"] for rule in listed], ["root"])
        self.assertEqual(ask_socket("GET", "/nothing").status, 404)
        self.assertEqual(ask_socket("GET", "/session").status, 404, "nobody logs in there")

    def test_rules_that_are_refused(self):
        def refused(status, code, **body):
            self.assertEqual(self.change("POST", "/rules", {"network": "192.0.2.5", "verdict": "deny", **body}, status).json["code"], code)
        refused(400, "invalid_value", network="x")
        refused(400, "invalid_value", verdict="perhaps")
        refused(400, "unknown_member", lisener="smtp")
        refused(400, "invalid_value", note=7)
        refused(400, "invalid_value", networks="192.0.2.5")
        refused(400, "invalid_value", expires_at="soon")
        refused(400, "malformed_body", client_rate=2**64)
        refused(422, "unknown_listener", listener="nothing")
        refused(422, "expiry_past", expires_at="2001-01-01T00:00:00Z")
        refused(422, "invalid_value", note="x" * 1001)
        refused(422, "invalid_value", note="a\u0000b")
        refused(409, "hazardous", network="127.0.0.1")
        refused(409, "hazardous", network="0.0.0.0/0")
        refused(400, "invalid_value", networks=[f"2001:db8:{number:x}::1-2001:db8:{number:x}:ffff:ffff:ffff:ffff:fffe" for number in range(100)])
        self.change("POST", "/rules/import", {}, 400)
        self.change("POST", "/rules/import", {"replace": True, "all_sets": True, "force": True}, 400)
        self.assertEqual(self.get("/rules?match=192.0.2.5")["rules"], [])

    def test_lists_and_pages(self):
        text = "".join(f"deny 10.9.{number}.0/24 set=pages\n" for number in range(25))
        preview = self.change("POST", "/rules/import", {"text": text, "dry_run": True}).json
        self.assertEqual((preview["dry_run"], preview["added"]), (True, 25))
        self.assertEqual(self.change("POST", "/rules/import", {"text": text}).json["added"], 25)
        self.assertIn("pages", [one["name"] for one in self.get("/rules/sets")["sets"]])
        found, cursor = [], ""
        while True:
            page = self.get("/rules?set=pages&limit=10" + cursor)
            found += [rule["network"] for rule in page["rules"]]
            self.assertEqual(page["found"], 25)
            if page["next"] is None:
                break
            cursor = "&cursor=" + page["next"]
        self.assertEqual(len(set(found)), 25)
        ids, cursor = [], ""
        while True:
            page = self.get("/rules/history?limit=10&network=10.9.0.0/16" + cursor)
            ids += [one["id"] for one in page["changes"]]
            if page["next"] is None:
                break
            cursor = "&cursor=" + page["next"]
        self.assertEqual(ids, sorted(set(ids), reverse=True))
        self.assertEqual(len(ids), 25)
        errors = self.change("POST", "/rules/import", {"text": "deny 10.9.0.0/24\nnonsense\n"}, 422).json["errors"]
        self.assertEqual(errors[0]["line"], 2)
        self.get("/rules?set=unknown", status=404)
        large = "# " + "x" * (1 << 20) + "\ndeny 10.9.99.0/24 set=pages\n"
        self.assertEqual(self.change("POST", "/rules/import", {"text": large}).json["added"], 1)
        self.change("POST", "/rules", {"network": "10.9.98.0/24", "verdict": "deny", "note": "x" * (1 << 17)}, 413)

    def test_of_concurrent_edits_one_wins(self):
        number = self.change("POST", "/rules", {"network": "192.0.2.200", "verdict": "deny"}, 201).json["changes"][0]["rule"]
        etag = ask("GET", f"/rules/{number}").headers["ETag"]
        statuses = []
        threads = [threading.Thread(target=lambda name=name: statuses.append(
            ask("PATCH", f"/rules/{number}", {"note": name}, headers={"If-Match": etag}).status)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(statuses), [200] + [412] * 7)
        etag = ask("GET", f"/rules/{number}").headers["ETag"]
        with contextlib.closing(sqlite3.connect(gateway.database, isolation_level=None)) as shell:
            shell.execute("UPDATE access_rule SET created_by = 'mallory' WHERE id = ?", (number,))
        self.assertEqual(ask("PATCH", f"/rules/{number}", {"note": "mine"}, headers={"If-Match": etag}).status, 412, "whose it is has changed")

    def test_a_denial_may_end_sessions(self):
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.211"))) as client:
            proxyclient.read_line(client)
            done = self.change("POST", "/rules", {"network": "192.0.2.211", "verdict": "deny", "cut": True}, 201).json
            self.assertEqual(done["sessions_ended"], 1)


class Roles(Console):
    def test_every_operation_needs_its_role(self):
        example = {"id": "1", "upstream": "mail", "server": "mail1", "state": "drain", "name": "postfix"}
        for pattern, operations in API["paths"].items():
            for method, operation in operations.items():
                if method == "parameters" or pattern == "/session":
                    continue
                least = re.search(r"Role (viewer|operator|admin)\b", operation["description"])[1]
                target = re.sub(r"\{(\w+)\}", lambda name: example[name[1]], pattern)
                for role in ("viewer", "operator", "admin"):
                    if role == "admin" or method != "get" and role == least:
                        continue  # carried out: other tests' matter
                    allowed = ["viewer", "operator", "admin"].index(role) >= ["viewer", "operator", "admin"].index(least)
                    answer = ask(method.upper(), target, {} if method != "get" else None, token=role)
                    with self.subTest(method=method, target=target, role=role):
                        self.assertEqual(answer.status == 403, not allowed, answer.body)
                        self.holds(method.upper(), target, answer)
                with self.subTest(method=method, target=target, role=None):
                    self.holds(method.upper(), target, ask(method.upper(), target, {} if method != "get" else None, token=None), 401)

    def test_no_path_is_without_a_test_or_a_document(self):
        """Runs what is left, so that every operation has been answered once as the document says."""
        self.get("/rules/sets")
        self.get("/rules/history")
        self.get("/sessions/live")
        documented = {(method.upper(), pattern) for pattern, operations in API["paths"].items()
                      for method in operations if method != "parameters"}
        source = (DOCS.parent / "gateway/api/api.cpp").read_text()
        routes = {(method, re.sub(r"\{\w+\}", "*", path)) for method, path in
                  re.findall(r'\{"(\w+)", "(/[^"]*)", Role', source)}
        self.assertEqual({(method, re.sub(r"\{\w+\}", "*", pattern)) for method, pattern in documented if pattern != "/session"}, routes)


class LoggingIn(Console):
    def log_in(self, user="admin-person", password=PASSWORD, status=200, client="192.0.2.1", **headers):
        return self.change("POST", "/session", {"user": user, "password": password}, status, token=None, headers=headers)

    def test_a_session(self):
        answer = self.log_in()
        cookie = answer.headers["Set-Cookie"]
        for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
            self.assertIn(part, cookie)
        self.assertNotIn("Secure", cookie, "the cookie would be of no use without TLS")
        session = {"Cookie": cookie.split(";")[0]}
        self.assertEqual(answer.json["name"], "admin-person (console)")
        self.assertEqual(self.get("/session", token=None, headers=session), answer.json)
        rule = {"network": "192.0.2.120", "verdict": "deny"}
        self.assertEqual(self.change("POST", "/rules", rule, 403, token=None, headers=session).json["code"], "csrf")
        wrong = {**session, "X-CSRF-Token": "x"}
        self.change("POST", "/rules", rule, 403, token=None, headers=wrong)
        right = {**session, "X-CSRF-Token": answer.json["csrf_token"]}
        self.change("POST", "/rules", rule, 201, token=None, headers=right)
        self.assertEqual(self.get("/rules?match=192.0.2.120")["rules"][0]["created_by"], "admin-person (console)")
        gateway.wait_event("console.login", user="admin-person", role="admin")
        other = self.log_in()
        self.assertEqual(self.change("DELETE", "/session", token=None, headers=right).json["ended"], 1)
        self.get("/session", 401, token=None, headers=session)
        again = {"Cookie": other.headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": other.json["csrf_token"]}
        third = self.log_in()
        self.assertGreaterEqual(self.change("DELETE", "/session?everywhere=true", token=None, headers=again).json["ended"], 2)
        self.get("/session", 401, token=None, headers={"Cookie": third.headers["Set-Cookie"].split(";")[0]})

    def test_another_services_cookie_of_the_same_name(self):
        cookie = self.log_in("viewer-person").headers["Set-Cookie"].split(";")[0]
        for cookies in (f"mailgate=x; {cookie}", f"{cookie}; mailgate=x"):
            self.assertEqual(self.get("/session", token=None, headers={"Cookie": cookies})["role"], "viewer", cookies)

    def test_a_new_password_ends_sessions(self):
        assert gateway.run("console", "user", "add", "dora", "--role", "viewer", stdin=PASSWORD + "\n").returncode == 0
        session = {"Cookie": self.log_in("dora").headers["Set-Cookie"].split(";")[0]}
        self.get("/status", token=None, headers=session)
        gateway.run("console", "user", "passwd", "dora", stdin="another horse battery\n")
        self.get("/status", 401, token=None, headers=session)
        session = {"Cookie": self.log_in("dora", "another horse battery").headers["Set-Cookie"].split(";")[0]}
        gateway.run("console", "user", "remove", "dora")
        self.get("/status", 401, token=None, headers=session)

    def test_who_a_trusted_proxy_names(self):
        def through(address, user, **headers):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=(address, 0))) as proxy:
                proxy.request("GET", "/api/v1/session", headers={"X-Remote-User": user, **headers})
                got = proxy.getresponse()
                return got.status, json.loads(got.read())
        self.assertEqual(through("127.0.0.9", "operator-person")[1]["name"], "operator-person (console)")
        self.assertEqual(through("127.0.0.9", "nobody")[0], 403)
        self.assertEqual(through("127.0.0.9", "operator-person", Authorization="Basic YTpi")[0], 200, "that is the proxy's matter")
        self.assertEqual(through("127.0.0.8", "operator-person", Authorization="Basic YTpi")[0], 401)
        self.assertEqual(through("127.0.0.8", "operator-person")[0], 401, "a proxy that is not trusted says nothing")

    def test_guessing_is_slowed_down_and_told(self):
        def guess(client, user, password="wrong horse battery"):
            body = json.dumps({"user": user, "password": password})
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.9", 0))) as proxy:
                proxy.request("POST", "/api/v1/session", body, {"X-Forwarded-For": f"10.0.0.1, {client}", "Content-Type": "application/json"})
                got = proxy.getresponse()
                got.read()
                return got
        self.assertEqual([guess("192.0.2.66", f"user{number}").status for number in range(5)], [401] * 5)
        paused = guess("192.0.2.66", "admin-person", PASSWORD)
        self.assertEqual(paused.status, 429)
        self.assertTrue(1 <= int(paused.headers["Retry-After"]) <= 60)
        self.assertEqual(guess("192.0.2.67", "admin-person", PASSWORD).status, 200, "others are not concerned")
        lines = gateway.wait_events(5, "console.login_failed", client="192.0.2.66")
        self.assertEqual([line["user"] for line in lines], [f"user{number}" for number in range(5)])
        self.assertNotIn("wrong horse", gateway.log_text())
        self.assertNotIn(PASSWORD, gateway.log_text())

    def test_an_account_of_ones_own_does_not_help_to_guess(self):
        def attempt(user, password):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.24", 0))) as one:
                one.request("POST", "/api/v1/session", json.dumps({"user": user, "password": password}), {"Content-Type": "application/json"})
                return one.getresponse().status
        for _ in range(4):
            self.assertEqual(attempt("admin-person", "wrong horse battery"), 401)
        self.assertEqual(attempt("viewer-person", PASSWORD), 200)
        self.assertEqual(attempt("admin-person", "wrong horse battery"), 401)
        self.assertEqual(attempt("viewer-person", PASSWORD), 429)

    def test_tokens(self):
        expired = add_token("old", "admin", "--expires", "1s")
        gateway.run("console", "user", "add", "emil", "--role", "viewer", stdin=PASSWORD + "\n")
        emils = add_token("emils", "admin", "--user", "emil")
        self.assertEqual(self.get("/session", token=emils)["role"], "viewer", "no more than the account may")
        said = gateway.run("console", "token", "add", "emils-other", "--role", "operator", "--user", "emil").stderr
        self.assertIn("note: emil is a viewer: the token may do no more than that", said)
        gateway.run("console", "user", "remove", "emil")
        self.get("/status", 401, token=emils)
        wait_until(lambda: ask("GET", "/status", token=expired).status == 401, "the token's end")
        self.assertEqual(gateway.wait_event("console.login_failed", reason="expired")["user"], "old")
        removed = add_token("gone", "admin")
        self.get("/status", token=removed)
        gateway.run("console", "token", "remove", "gone")
        self.get("/status", 401, token=removed)
        for wrong in ("Basic YTpi", "Bearer", "Bearer ", "bearer x", "Bearer " + "x" * 5000):
            with self.subTest(wrong=wrong):
                self.get("/status", 401, token=None, headers={"Authorization": wrong})
        self.assertNotIn(removed, gateway.log_text())


class Page(html.parser.HTMLParser):
    """What a page has, and that it is well-formed."""

    VOID = {"meta", "link", "input"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.fields, self.labels, self.words = [], [], [], {}, set(), ""
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "script":
            assert attrs["src"].startswith("/assets/"), attrs
        if tag == "a":
            self.links.append(attrs["href"])
        if tag == "input":
            self.fields[attrs["name"]] = attrs.get("value", "")
            if attrs.get("type") != "hidden":
                self.labels.add("needs " + attrs["id"])
        if tag == "label":
            self.labels.add("has " + attrs["for"])
        assert "style" not in attrs and not any(name.startswith("on") for name in attrs), attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        assert "script" not in self.open, data
        self.words += data + " "


class Pages(unittest.TestCase):
    def ask(self, method, path, form=None, headers=None, status=200):
        """(page, headers of the answer)"""
        sent = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.25", 0))) as browser:
            browser.request(method, path, form and urllib.parse.urlencode(form), {**sent, **(headers or {})})
            got = browser.getresponse()
            text = got.read().decode()
        self.assertEqual(got.status, status, text)
        self.assertIn("default-src 'self'", got.headers["Content-Security-Policy"])
        if got.status == 303:
            return None, got.headers
        self.assertEqual(got.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(got.headers["Cache-Control"], "no-store")
        page = Page(text)
        self.assertFalse({"style", "iframe"} & set(page.tags))
        self.assertEqual({"has " + need[6:] for need in page.labels if need.startswith("needs ")},
                         {has for has in page.labels if has.startswith("has ")}, "every field has its label")
        return page, got.headers

    def log_in(self, user):
        _, headers = self.ask("POST", "/login", {"user": user, "password": PASSWORD}, status=303)
        self.assertEqual(headers["Location"], "/")
        return {"Cookie": headers["Set-Cookie"].split(";")[0]}

    def test_who_is_not_known_logs_in(self):
        for path in ("/", "/sessions", "/sessions/live", "/nothing", "/sessions/x/end"):
            _, headers = self.ask("GET", path, status=303)
            self.assertEqual(headers["Location"], "/login")
        page, _ = self.ask("GET", "/login")
        self.assertEqual(set(page.fields), {"user", "password"})
        page, _ = self.ask("POST", "/login", {"user": '"><b>', "password": "wrong horse battery"}, status=401)
        self.assertIn("is wrong", page.words)
        self.assertNotIn("b", page.tags)
        self.ask("POST", "/login", {"user": "admin-person", "password": PASSWORD}, {"Sec-Fetch-Site": "cross-site"}, 403)
        self.ask("POST", "/login", {"user": "admin-person", "password": PASSWORD}, {"Origin": "http://evil.example"}, 403)
        self.log_in("admin-person")

    def test_the_overview(self):
        page, _ = self.ask("GET", "/", headers=self.log_in("viewer-person"))
        for words in ("gw.example.net", "smtp", "mail1", "up", "viewer-person (console)"):
            self.assertIn(words, page.words)
        self.assertLess({"h1", "main", "nav", "caption", "th"}, set(page.tags))

    def test_sessions_and_one_of_them(self):
        session = self.log_in("operator-person")
        page, _ = self.ask("GET", "/sessions?q=alice%40partner.example", headers=session)
        self.assertIn("a sender", page.words)
        self.assertIn("198.51.100.7", page.words)
        self.assertEqual(page.fields["q"], "alice@partner.example")
        [link] = [link for link in page.links if re.fullmatch("/sessions/[0-9A-Z]{26}", link)]
        story, _ = self.ask("GET", link, headers=session)
        for words in ("alice@partner.example", "bob@example.net", "198.51.100.7", "queue id", "FAKE0001"):
            self.assertIn(words, story.words)
        page, _ = self.ask("GET", "/sessions?q=nobody%40nowhere.example", headers=session)
        self.assertIn("nothing of this name", page.words)
        self.ask("GET", "/sessions/0000000000", headers=session, status=404)
        self.ask("GET", "/nothing", headers=session, status=404)
        masked, _ = self.ask("GET", "/sessions?q=alice%40partner.example", headers=self.log_in("viewer-person"))
        self.assertIn("198.51.100.0/24", masked.words)
        self.assertNotIn("198.51.100.7", masked.words)

    def test_a_session_is_ended_by_a_form_of_the_page(self):
        operator, viewer = self.log_in("operator-person"), self.log_in("viewer-person")
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.98"))) as client:
            proxyclient.read_line(client)
            page, _ = self.ask("GET", "/sessions/live", headers=viewer)
            self.assertFalse([link for link in page.links if link.endswith("/end")])
            page, _ = self.ask("GET", "/sessions/live", headers=operator)
            [link] = [link for link in page.links if link.endswith("/end")]
            self.ask("POST", link, {"csrf_token": "x"}, operator, 403)
            self.ask("POST", link, {}, operator, 403)
            self.ask("POST", link, self.ask("GET", "/", headers=viewer)[0].fields, viewer, 403)
            page, _ = self.ask("GET", link, headers=operator)
            self.ask("POST", link, {"csrf_token": page.fields["csrf_token"]}, {**operator, "Sec-Fetch-Site": "cross-site"}, 403)
            self.ask("POST", link, {"csrf_token": page.fields["csrf_token"]}, operator, 303)
            self.assertIn(b"421", proxyclient.read_line(client))
        gateway.wait_event("admin.order", order="kill", ok=True, user="operator-person (console)")

    def test_logging_out(self):
        session = self.log_in("viewer-person")
        page, _ = self.ask("GET", "/", headers=session)
        self.ask("POST", "/logout", {"csrf_token": "x"}, session, 403)
        _, headers = self.ask("POST", "/logout", {"csrf_token": page.fields["csrf_token"]}, session, 303)
        self.assertIn("Max-Age=0", headers["Set-Cookie"])
        self.ask("GET", "/", headers=session, status=303)

    def test_what_clients_say_is_text(self):
        evil = "<script>alert(1)</script>\"'&amp;\u202e"
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.97"))) as client:
            proxyclient.read_line(client)
            client.sendall(f"EHLO {evil}\r\n".encode())
            proxyclient.read_reply(client)
            session = self.log_in("operator-person")
            live, _ = self.ask("GET", "/sessions/live", headers=session)
            client.sendall(b"QUIT\r\n")
            proxyclient.read_to_end(client)
        wait_until(lambda: "198.51.100.97" in ask("GET", "/sessions?client=198.51.100.97").body, "the session")
        page, _ = self.ask("GET", "/sessions?q=198.51.100.97", headers=session)
        [link] = [link for link in page.links if re.fullmatch("/sessions/[0-9A-Z]{26}", link)]
        story, _ = self.ask("GET", link, headers=session)
        for shown in (live, page, story):
            self.assertIn("alert(1)", shown.words)
            self.assertNotIn("\u202e", shown.words)
        page, _ = self.ask("GET", "/sessions?" + urllib.parse.urlencode({"q": evil}), headers=session)
        self.assertIn("<script>", page.fields["q"])

    def test_what_pages_load_is_kept_for_good(self):
        session = self.log_in("viewer-person")
        page = ask_text("/", session)
        paths = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
        self.assertEqual({path.rsplit(".", 1)[1] for path in paths}, {"css", "js", "svg"})
        self.assertNotRegex(page, r'(src|href)="https?:', "nothing is fetched from elsewhere")
        together = len(gzip.compress(page.encode()))
        for path in paths:
            plain = self.load(path, {})
            self.assertIn("immutable", plain.headers["Cache-Control"])
            packed = self.load(path, {"Accept-Encoding": "gzip, br"})
            self.assertEqual(packed.headers["Content-Encoding"], "gzip")
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            together += len(packed.body)
            again = self.load(path, {"Accept-Encoding": "gzip, br", "If-None-Match": packed.headers["ETag"]})
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(self.load(path, {"If-None-Match": packed.headers["ETag"]}).status, 200, "another coding")
        self.assertLess(together, 80_000, "a page with all that it loads")
        self.assertEqual(self.load(paths[0] + "x", {}).status, 303)

    def load(self, path, headers):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30)) as browser:
            browser.request("GET", path, headers=headers)
            got = browser.getresponse()
            return Answer(got.status, got.headers, got.read())

    def test_a_page_that_refreshes_itself_says_that_the_session_is_over(self):
        got = self.load("/sessions/live", {"X-Refresh": "auto", "HX-Request": "true"})
        self.assertEqual((got.status, got.headers["HX-Redirect"], got.body), (204, "/login", b""))


def ask_text(path, headers):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30)) as browser:
        browser.request("GET", path, headers=headers)
        return browser.getresponse().read().decode()


class Fail2ban(unittest.TestCase):
    FILTER = DOCS.parent / "etc/fail2ban/filter.d/mailgate-console.conf"

    def test_failures_count(self):
        ask("GET", "/status", token="nobodys")
        forged = 'x","with":"y"},"client":"192.0.2.1'
        body = json.dumps({"user": forged, "password": "wrong horse battery"})
        for client in ("192.0.2.99", "2001:db8::99"):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.9", 0))) as proxy:
                proxy.request("POST", "/api/v1/session", body, {"X-Forwarded-For": client, "Content-Type": "application/json"})
                self.assertEqual(proxy.getresponse().status, 401)
            gateway.wait_event("console.login_failed", client=client)
        for prefix in ("", "Nov 21 00:00:00 mx mailgate[17]: "):
            sample = gateway.folder / "sample.log"
            sample.write_text("".join(prefix + line + "\n" for line in gateway.log_text().splitlines() if '"console.' in line))
            done = subprocess.run(["fail2ban-regex", "--out", "<ip>", sample, self.FILTER], text=True, capture_output=True, timeout=120)
            found = set(done.stdout.split())
            self.assertLessEqual({"127.0.0.1", "192.0.2.99", "2001:db8::99"}, found, done.stdout + done.stderr)
            self.assertNotIn("192.0.2.1", found)


class Hostile(Console):
    def test_requests_that_are_two(self):
        token = f"Authorization: Bearer {tokens['admin']}\r\n"
        post = f"POST /api/v1/rules/undo HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Content-Type: application/json\r\n"
        for name, data in {
                "two lengths": post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
                "length and chunks": post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "two codings": post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
                "another coding": post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
                "bare LF between chunks": post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
                "a length with a sign": post + "Content-Length: +2\r\n\r\n{}",
                "a space before the colon": post + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}",
                "a folded field": post + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
                "a line without a colon": post + "Content-Length 2\r\n\r\n{}",
                "a NUL": post + "X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
                "another version": f"GET /api/v1/status HTTP/9.9\r\nHost: 127.0.0.1\r\n{token}\r\n",
                "two hosts": f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: y\r\n{token}\r\n",
                "no host": f"GET /api/v1/status HTTP/1.1\r\n{token}\r\n",
                "two origins": f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Origin: http://127.0.0.1\r\nOrigin: null\r\n\r\n",
                "a port of no host": f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:65536\r\n{token}\r\n",
                "a port of no origin": f"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1:65536\r\n\r\n",
                "a port of no target": f"GET http://127.0.0.1:65536/login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                "two tokens": f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Authorization: Bearer x\r\n\r\n"}.items():
            with self.subTest(name=name):
                self.assertRegex(raw(data.encode()), r"^HTTP/1\.[01] 400 ")
        add = post.replace("/rules/undo", "/rules")
        for expected, status in (("100-continue", 400), ("100-Continue, x", 417), ("x", 417), ("", 417)):
            with self.subTest(expected=expected):
                answer = raw(f"{add}Content-Length: 1\r\nExpect: {expected}\r\n\r\n{{".encode())
                self.assertRegex(answer.removeprefix("HTTP/1.1 100 Continue\r\n\r\n"), rf"^HTTP/1\.1 {status} ")
        unasked = f"{add}Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n"
        self.assertRegex(raw(unasked.encode()), r"^HTTP/1\.1 413 ", "nobody is asked for what is not taken")
        self.assertRegex(raw(unasked.replace(tokens["admin"], "mgt_x").encode()), r"^HTTP/1\.1 401 ")
        smuggled = post + "Content-Length: 2\r\n\r\n{}GET /api/v1/configuration HTTP/1.1\r\nHost: 127.0.0.1\r\n" + token + "\r\n"
        self.assertEqual(raw(smuggled.encode()).count("HTTP/1."), 1, "a connection has one request")

    def test_paths(self):
        for path in ("/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/configuration", "/sessions/..", "/rules/%00", "/rules/1%00",
                     "//status", "/status/", "/rules/-1", "/rules/01", "/rules/+1", "/rules%2f1", "/sessions//live", "/status#x", "/rules/99999999999999999999", "/sessions/%ff%fe", "/STATUS",
                     "/servers/%00/%00"):
            with self.subTest(path=path):
                answer = ask("GET", path)
                self.assertEqual(answer.status, 404, answer.body)
                json.loads(answer.body)
        for target in ("GET http://x/api/v1/status", "GET *", "GET /" + "a" * 3000, "GET /api/v1/status?%", "GET /api/v1/%"):
            with self.subTest(target=target[:40]):
                answer = raw(f"{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n".encode())
                self.assertRegex(answer, r"^HTTP/1\.[01] (200|4\d\d) ")

    def test_bodies(self):
        for name, body in {"nested": "[" * 10_000, "nested objects": '{"a":' * 10_000, "an array": "[]", "a text": '"x"', "nothing": "",
                           "a number": "7", "not UTF-8": b'{"note": "\xff"}', "overlong": b'{"note": "\xc0\x80"}', "half": '{"network": ',
                           "a surrogate": b'{"note": "\xed\xa0\x80"}'}.items():
            with self.subTest(name=name):
                self.assertEqual(self.change("POST", "/rules", body, 400).json["code"], "malformed_body")
        self.change("POST", "/session", '{"user":' * 400, 400, token=None)
        self.change("POST", "/session", {"user": "x", "password": "y", "more": 1}, 400, token=None)
        self.change("POST", "/session", json.dumps({"user": "x", "password": "y" * 10_000}), 413, token=None)
        for other in ("application/x-www-form-urlencoded", "application/json; charset=utf-16", 'application/json;x=y ; Charset="latin1"'):
            self.assertEqual(ask("POST", "/rules", "{}", headers={"Content-Type": other}).status, 415, other)
        self.change("POST", "/rules", "{}", 400, headers={"Content-Type": 'application/json; charset="UTF-8"'})

    def test_an_endless_body_of_nobody_is_not_read(self):
        with socket.create_connection(("127.0.0.1", console_port), timeout=30) as connection:
            connection.sendall(b"POST /api/v1/rules/import HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            self.assertRegex(connection.recv(100), rb"^HTTP/1\.[01] 401 ")

    def test_an_endless_body_ends(self):
        with socket.create_connection(("127.0.0.1", console_port), timeout=60) as connection:
            connection.sendall(f"POST /api/v1/rules HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {tokens['admin']}\r\n"
                               "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            sent = 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while sent < 1 << 26:
                    connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                    sent += 0x10000
            self.assertLess(sent, 1 << 26)

    def begun(self, role, path, address="127.0.0.1", headers="Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"):
        one = socket.create_connection(("127.0.0.1", console_port), timeout=60, source_address=(address, 0))
        self.addCleanup(one.close)
        one.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {tokens[role]}\r\n{headers}\r\n".encode())
        return one

    def test_bodies_of_one_account_keep_no_thread_from_others(self):
        # Of an address two are read at once, and of an account.
        for number in range(4):
            self.begun("operator", "/api/v1/rules/import", f"127.0.0.{31 + number // 2}")
        started = time.monotonic()
        other = self.begun("admin", "/api/v1/rules/import")
        other.sendall(b"2\r\n{}\r\n0\r\n\r\n")
        self.assertRegex(other.recv(100), rb"^HTTP/1\.1 4(00|22) ")
        self.assertLess(time.monotonic() - started, 4 * mailgate.SLACK)

    def test_bodies_that_nobody_takes_are_not_waited_for(self):
        form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n"
        started = time.monotonic()
        for role, path, status, *headers in (("viewer", "/api/v1/rules/import", 403), ("viewer", "/api/v1/rules", 403), ("admin", "/api/v1/status", 405),
                                             ("admin", "/api/v1/nothing", 404), ("viewer", "/rules/add", 403, form), ("admin", "/sessions", 405, form),
                                             ("viewer", "/logout", 413, form)):
            with self.subTest(path=path):
                self.assertRegex(self.begun(role, path, "127.0.0.1", *headers).recv(100), rf"^HTTP/1\.1 {status} ".encode())
        self.assertLess(time.monotonic() - started, 4 * mailgate.SLACK)

    def test_who_sends_half_is_told(self):
        cut = self.begun("operator", "/api/v1/rules", headers="Content-Type: application/json\r\nContent-Length: 9000\r\n")
        cut.shutdown(socket.SHUT_WR)
        self.assertRegex(cut.recv(100), rb"^HTTP/1\.1 400 ")

    def test_the_refusal_of_a_large_body_arrives(self):
        large = b'{"text":"' + b"x" * (16 << 20) + b'"}'
        head = (f"POST /api/v1/rules/import HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {tokens['operator']}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(large)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", console_port), timeout=60) as connection:
            connection.sendall(head + large)
            self.assertRegex(connection.recv(100), rb"^HTTP/1\.1 413 ")

    def test_passwords_keep_no_thread_from_others(self):
        """More log-ins at once than may wait; from one client, of which five are looked at."""
        body = json.dumps({"user": "admin-person", "password": "wrong horse battery"})
        answers = []

        def guess():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=60, source_address=("127.0.0.23", 0))) as one:
                one.request("POST", "/api/v1/session", body, {"Content-Type": "application/json"})
                got = one.getresponse()
                answers.append((got.status, got.headers["Retry-After"]))
                got.read()
        threads = [threading.Thread(target=guess) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = [status for status, _ in answers]
        self.assertEqual(len(statuses), 60)
        self.assertIn(statuses.count(401), range(1, 6), statuses)
        self.assertLessEqual(set(statuses), {401, 429, 503})
        self.assertTrue(all(after for status, after in answers if status != 401), answers)

    def test_who_guesses_takes_no_places_from_others(self):
        """By many addresses, a new name each, all in one /32 and each in a /48 of its own, on more connections than there are places."""
        done = threading.Event()
        statuses = [[] for _ in range(24)]

        def log_in(user, password, address, headers):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=60, source_address=(address, 0))) as one:
                one.request("POST", "/api/v1/session", json.dumps({"user": user, "password": password}), {"Content-Type": "application/json", **headers})
                got = one.getresponse()
                got.read()
                return got

        def guess(thread):
            for number in range(10_000):
                if done.is_set():
                    return
                client = f"2001:db8:{(thread * 2_000 + number) % 0x10000:x}::1"
                statuses[thread].append(log_in(f"{thread}-{number}", "wrong horse battery", "127.0.0.9", {"X-Forwarded-For": client}).status)
        threads = [threading.Thread(target=guess, args=(thread,)) for thread in range(1, len(statuses))]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: any(503 in those for those in statuses), "more guesses at once than there are places")
            for _ in range(10):
                self.assertEqual(log_in("admin-person", PASSWORD, "127.0.0.26", {}).status, 200)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual({status for those in statuses for status in those}, {401, 429, 503})

    def test_what_a_proxy_says_and_is_not_understood_is_told(self):
        for _ in range(2):
            self.get("/session", token="viewer", headers={"X-Forwarded-For": "unknown"})
        self.assertEqual(gateway.events("console.client_unknown"), [], "nobody is believed who is no proxy")
        for _ in range(2):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.9", 0))) as proxy:
                proxy.request("GET", "/login", headers={"X-Forwarded-For": "192.0.2.7, unknown"})
                self.assertEqual(proxy.getresponse().status, 200)
        line = gateway.wait_event("console.client_unknown")
        self.assertEqual([line["proxy"], line["forwarded_for"]], ["127.0.0.9", "unknown"])
        self.assertEqual(len(gateway.events("console.client_unknown")), 1, "once a minute")

    def test_as_to_a_proxy(self):
        """RFC 9112 3.2.2: the host in the target counts, and not the field."""
        head = f" HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n"
        self.assertRegex(raw(f"GET http://127.0.0.1:{console_port}/api/v1/status{head}".encode()), r"^HTTP/1\.[01] 200 ")
        self.assertRegex(raw(b"GET http://localhost/login HTTP/1.1\r\nHost: x\r\n\r\n"), r"^HTTP/1\.[01] 200 ")
        self.assertRegex(raw(b"GET http://evil.example/login HTTP/1.1\r\nHost: localhost\r\n\r\n"), r"^HTTP/1\.[01] 421 ")
        self.assertRegex(raw(b"GET  /login HTTP/1.1\r\nHost: localhost\r\n\r\n"), r"^HTTP/1\.[01] 400 ")
        for path in ("/rules/../logout", "/rules/%2e%2e/logout", "/./login", "/api/v1/./status", "/rules/%2E/add"):
            with self.subTest(path=path):
                self.assertRegex(raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()), r"^HTTP/1\.[01] 404 ")

    def test_another_name_than_ours_is_not_answered(self):
        """A page of another site whose name was made to stand for this host would be of one origin with the console."""
        for path, headers in (("/api/v1/session", {"X-Remote-User": "admin-person"}), ("/login", {}), ("/", {})):
            for host, status in (("evil.example", 421), (f"evil.example:{console_port}", 421), (f"localhost:{console_port}", None), ("gw.example.net", None)):
                with self.subTest(path=path, host=host), contextlib.closing(
                        http.client.HTTPConnection("127.0.0.1", console_port, timeout=30, source_address=("127.0.0.9", 0))) as browser:
                    browser.request("GET", path, headers={**headers, "Host": host})
                    got = browser.getresponse().status
                    self.assertEqual(got, status or (303 if path == "/" else 200))

    def test_heads_without_end(self):
        self.assertRegex(raw(b"GET /api/v1/status HTTP/1.1\r\nX: " + b"a" * 70_000), r"^(HTTP/1\.1 431 |$)")
        self.assertRegex(raw(b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 1000 + b"\r\n"), r"^(HTTP/1\.[01] 400 |$)")

    def test_what_nobody_waits_for_is_not_done(self):
        """Orders that wait for another writer, as those do that wait for a thread, and whose givers leave meanwhile."""
        body = '{"network":"203.0.113.99","verdict":"deny"}'
        form = "step=do&networks=203.0.113.99&verdict=deny"
        orders = [(host, f"{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {tokens['operator']}\r\n"
                         f"Content-Length: {len(text)}\r\nContent-Type: application/{kind}\r\n\r\n{text}")
                  for host, head, kind, text in (((console_port), "POST /api/v1/rules", "json", body),
                                                 (str(gateway.socket), "POST /api/v1/rules", "json", body),
                                                 ((console_port), "POST /rules/add", "x-www-form-urlencoded", form))]
        version = ask("GET", "/rules").json["version"]
        with contextlib.closing(sqlite3.connect(gateway.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for where, order in orders:
                with socket.socket(socket.AF_UNIX) if isinstance(where, str) else socket.create_connection(("127.0.0.1", where)) as asker:
                    if isinstance(where, str):
                        asker.connect(where)
                    asker.sendall(order.encode())
            self.get("/status")
            other.execute("ROLLBACK")
        for line in gateway.wait_events(3, "admin.order", order="add rules"):
            self.assertFalse(line["ok"])
            self.assertIn("did not wait for the answer", line["detail"])
        self.assertEqual(ask("GET", "/rules").json["version"], version)

    def test_a_target_has_a_limit(self):
        for path in ("/api/v1/rules/test?", "/sessions?q="):
            answer = raw(f"GET {path}{'x' * 16_000} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n".encode())
            self.assertRegex(answer, r"^HTTP/1\.[01] 414 ")
            self.assertIn('"code":"target_too_long"', answer)
        self.assertEqual(ask("GET", "/rules/test?address=" + "&address=".join(["2001:db8::%x" % n for n in range(200)])).status, 200)

    def test_slow_clients_delay_nobody(self):
        with contextlib.ExitStack() as open_ones:
            for _ in range(300):
                one = open_ones.enter_context(socket.create_connection(("127.0.0.1", console_port), timeout=30))
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    one.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
            begun = time.monotonic()
            self.get("/status")
            self.assertLess(time.monotonic() - begun, 3 * mailgate.SLACK)

    def test_no_thread_waits_for_nobody(self):
        json_type = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
        form = b"Host: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        with contextlib.ExitStack() as open_ones:
            for data in (b"POST /api/v1/session HTTP/1.1\r\n" + json_type + b"Transfer-Encoding: chunked\r\n\r\n",
                         b"POST /api/v1/session HTTP/1.1\r\n" + json_type + b"Content-Length: 100000\r\n\r\n",
                         b"POST /login HTTP/1.1\r\n" + form + b"\r\n",
                         b"POST /login HTTP/1.1\r\n" + form + b"Content-Length : 30\r\n\r\n",
                         b"POST /login HTTP/1.1\r\n" + form + b"Content-Length: 30\r\nExpect: 100-continue\r\n\r\n",
                         b"POST /login HTTP/1.1\r\n" + form + b"X: " + b"x" * 27_000 + b"\r\nContent-Length: 4000\r\n\r\n",
                         b"GET /\n\n", b"\n\n"):
                for _ in range(4):
                    one = open_ones.enter_context(socket.create_connection(("127.0.0.1", console_port), timeout=30))
                    one.sendall(data)
            begun = time.monotonic()
            for _ in range(3):
                self.get("/status")
            self.assertLess(time.monotonic() - begun, 3 * mailgate.SLACK, "five seconds for each four of them otherwise")

    def test_what_clients_send_stays_text(self):
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.9")) as client:
            proxyclient.read_line(client)
            client.sendall("EHLO <b>\u202ex.example\r\nQUIT\r\n".encode())
            proxyclient.read_to_end(client)
        wait_until(lambda: "x.example" in ask("GET", "/sessions?client=198.51.100.9").body, "the session")
        self.assertNotIn("\u202e", ask("GET", "/sessions").body)
        self.get("/sessions")


class WithoutAccounts(unittest.TestCase):
    def test_it_says_which_command_makes_the_first(self):
        port = reserve_port()
        scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                        name="empty", console={"address": f"127.0.0.1:{port}"}))
        answer = ask("GET", "/status", token=None, port=port)
        self.assertEqual(answer.status, 401)
        self.assertIn("mailgate console user add NAME --role admin", answer.json["detail"])


class Broken(unittest.TestCase):
    def test_where_files_are_is_for_administrators(self):
        port = reserve_port()
        broken = scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                                 name="broken", console={"address": f"127.0.0.1:{port}"}))
        own = {role: broken.run("console", "token", "add", role, "--role", role).stdout.strip() for role in ("viewer", "admin")}
        shown = {role: ask("GET", "/status", token=token, port=port).body for role, token in own.items()}
        self.assertNotIn(str(scratch.path), shown["viewer"])
        self.assertIn(str(broken.config), shown["admin"])
        journal = broken.folder / "mailgate-journal.db"
        wait_until(journal.exists, "the journal")
        for file in broken.folder.glob("mailgate-journal.db*"):
            file.unlink()
        for path in ("/sessions", "/sessions/day"):
            told = {role: ask("GET", path, token=token, port=port) for role, token in own.items()}
            self.assertEqual([answer.status for answer in told.values()], [500, 500])
            self.assertNotIn(str(scratch.path), told["viewer"].body)
            self.assertIn(str(journal), told["admin"].body)
        self.assertIn(str(journal), broken.wait_event("api.failed")["detail"])
        store = broken.folder / "mailgate.db"
        store.write_bytes(b"no database" * 1000)
        for file in broken.folder.glob("mailgate.db-*"):
            file.unlink()
        # A database is looked at anew within a few seconds.
        wait_until(lambda: ask("GET", "/status", token="mgt_x", port=port).status == 503, "the answer of who cannot read")
        for path, token in (("/status", "mgt_x"), ("/status", own["admin"]), ("/session", None)):
            answer = ask("GET", path, token=token, port=port, headers={"Cookie": "mailgate=x"} if token is None else {})
            self.assertEqual(answer.status, 503)
            self.assertNotIn(str(scratch.path), answer.body)
            self.assertIn("mailgate console user list", answer.json["detail"])


class Starved(unittest.TestCase):
    """With few descriptors, or none."""

    def test_it_says_so_and_recovers(self):
        port = reserve_port()
        poor = scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                               name="poor", console={"address": f"127.0.0.1:{port}"}))
        self.assertEqual(ask("GET", "/status", token=None, port=port).status, 401)
        pid = poor.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        self.addCleanup(poor.stop)

        def leave(free):
            """So many, as far as the process itself does not close or open others meanwhile."""
            taken = {int(entry.name) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
            least = itertools.islice((number for number in itertools.count() if number not in taken), free, None)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(least), usual[1]))

        def asked():
            """What is answered, if that is soon; and the connection, if not."""
            connection = socket.create_connection(("127.0.0.1", port), timeout=0.3)
            self.addCleanup(connection.close)
            connection.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                return connection.recv(20)
            return b""

        def refused():
            leave(2)
            answer = asked()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
            return answer.startswith(b"HTTP/1.1 503")

        def paused():
            leave(0)
            asked()
            return poor.events("listener.paused", listener="console")
        wait_until(refused, "a refusal")
        self.assertEqual(poor.wait_event("listener.exhausted")["listener"], "console")
        wait_until(paused, "a pause")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        poor.wait_event("listener.resumed", listener="console")
        self.assertEqual(ask("GET", "/status", token=None, port=port).status, 401)


class Tls(unittest.TestCase):
    def test_tls_with_the_gateways_certificates(self):
        port = reserve_port()
        issuer = authority.Authority(scratch.folder("console-ca"))
        certificate, key = issuer.issue("gw.example.net")
        secure = scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)], name="secure",
                                   console={"address": f"127.0.0.1:{port}", "certificates": [{"certificate": str(certificate), "key": str(key)}]}))
        done = secure.run("console", "user", "add", "alice", "--role", "admin", stdin=PASSWORD + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        context = ssl.create_default_context(cafile=str(issuer.certificate))
        context.check_hostname = False
        answer = ask("POST", "/session", {"user": "alice", "password": PASSWORD}, token=None, port=port, context=context)
        self.assertEqual(answer.status, 200, answer.body)
        cookie = answer.headers["Set-Cookie"]
        self.assertIn("__Host-mailgate=", cookie)
        self.assertIn("; Secure", cookie)
        self.assertEqual(answer.headers["Strict-Transport-Security"], "max-age=31536000")
        self.assertIsNone(ask("GET", "/status").headers["Strict-Transport-Security"], "without TLS")
        session = {"Cookie": cookie.split(";")[0], "X-CSRF-Token": answer.json["csrf_token"]}
        text = "".join(f"deny 10.{number // 256}.{number % 256}.0/24\n" for number in range(20_000))
        done = ask("POST", "/rules/import", {"text": text}, token=None, headers=session, port=port, context=context)
        self.assertEqual(done.json["added"], 20_000)
        page = ask("GET", "/rules?limit=1000", token=None, headers=session, port=port, context=context)
        self.assertEqual(len(page.json["rules"]), 1000)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), suppress_ragged_eofs=False) as cut:
            cut.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")
            socket.socket.shutdown(cut, socket.SHUT_WR)
            self.assertRegex(b"".join(iter(lambda: cut.recv(4096), b"")), rb"^HTTP/1\.1 400 [^{]*{.*incomplete_body")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            plain.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1 200", plain.recv(1000))

    def test_elsewhere_it_has_to_be_accepted(self):
        for settings, words in (({}, "insecure"), ({"user_header": "X-User", "insecure": "accepted"}, "trusted_proxies")):
            with self.subTest(settings=settings):
                refused = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                            name="refused" + str(len(settings)), console={"address": f"0.0.0.0:{reserve_port()}", **settings})
                refused.write_config()
                done = refused.run("check")
                self.assertEqual(done.returncode, 78)
                self.assertIn(words, done.stderr + done.stdout)


if __name__ == "__main__":
    unittest.main()
