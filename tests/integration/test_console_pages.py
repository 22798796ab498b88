# SPDX-License-Identifier: Apache-2.0
"""The console's pages of access rules, servers and the configuration, as somebody uses them whose browser has no scripts."""

import contextlib
import http.client
import json
import unittest

from harness import backend, mailgate, proxyclient
from harness.browser import Browser
from harness.ports import reserve_port
from harness.process import Scratch, wait_until

PASSWORD = "correct horse battery"
EVIL = "<script>alert(1)</script>\"'&amp;\u202e"

scratch = gateway = mail = plain = None
console_port = None
browsers = {}


def setUpModule():
    global scratch, gateway, mail, plain, console_port
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    mail = scratch.start(backend.Backend(backend.smtp))
    plain = scratch.start(backend.Backend(backend.smtp, reads_header=False))
    console_port = reserve_port()
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "mail"), {**mailgate.listener("smtp", "mail"), "name": "second"}],
        [mailgate.upstream("mail", mail.port), mailgate.upstream("plain", plain.port)], admin={"socket": "mailgate.sock"},
        console={"address": f"127.0.0.1:{console_port}"}))
    for role in ("viewer", "operator", "admin"):
        done = gateway.run("console", "user", "add", role + "-person", "--role", role, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        browsers[role] = Browser(console_port).log_in(role + "-person", PASSWORD)
    for client in ("198.51.100.7", "198.51.100.8"):
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client)) as connection:
            connection.ehlo("partner.example")
            connection.sendmail("alice@partner.example", ["bob@example.net"], b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: len(gateway.run("sessions", "--json").stdout.splitlines()) >= 2, "the sessions")


def add(browser, **values):
    """By the form, as far as its preview."""
    form = browser.open("/rules/add").form("/rules/add")
    return browser.submit(form, "Preview", **values)


def listed(*words):
    return gateway.access("list", *words)


class Rules(unittest.TestCase):
    def setUp(self):
        self.operator, self.viewer = browsers["operator"], browsers["viewer"]

    def test_a_rule_is_shown_before_it_is_added_and_can_be_undone(self):
        preview = add(self.operator, networks="198.51.100.7\n203.0.113.0/24", verdict="deny", note="spam", listeners=["smtp"], expires_at="6d")
        self.assertIn("1 session of the last seven days would have been refused", preview.words)
        self.assertIn("2 rules to be added", preview.words)
        self.assertIn("/sessions?q=198.51.100.7", sum(preview.links.values(), []))
        self.assertNotIn("203.0.113.0/24", listed(), "nothing is done yet")
        again = self.operator.submit(preview.form("/rules/add"), "Back to the form")
        self.assertEqual(again.form("/rules/add").value("networks"), "198.51.100.7\n203.0.113.0/24")
        self.assertEqual(again.form("/rules/add").value("note"), "spam")
        change = self.operator.submit(preview.form("/rules/add"), "Add")
        self.assertIn("operator-person (console)", change.words)
        self.assertIn("deny 203.0.113.0/24", change.words)
        self.assertIn("203.0.113.0/24", listed())
        page = self.operator.open("/rules?show=expiring-7d&note=SPAM&listener=smtp")
        self.assertIn("2 rules found", page.words)
        [undo] = change.links["Undo this change"]
        preview = self.operator.open(undo)
        self.assertIn("1 session of the last seven days would have been admitted", preview.words)
        self.operator.submit(preview.form(undo), "Undo")
        self.assertNotIn("203.0.113.0/24", listed())
        refused = self.operator.open(undo, 409)
        self.assertRegex(refused.words, r"has been undone already, by .operator-person \(console\)., at 20")
        history = self.operator.open("/rules/history?network=203.0.113.0%2F24")
        self.assertEqual(history.words.count("operator-person (console)"), 3, "twice, and who is logged in")

    def test_a_rule_is_edited_and_removed(self):
        self.operator.submit(add(self.operator, networks="192.0.2.10", verdict="allow", note=EVIL, owner=EVIL, client_rate="7").form("/rules/add"), "Add")
        page = self.operator.open("/rules?match=192.0.2.10")
        self.assertIn("alert(1)", page.words)
        [rule] = page.links["192.0.2.10"]
        for seen in (page, self.operator.open(rule), self.viewer.open(rule), self.viewer.open("/rules"), self.operator.open("/rules/history"),
                     self.operator.open("/rules/why?address=192.0.2.10"), self.operator.open("/rules?note=alert")):
            self.assertIn("<script>alert(1)</script>", seen.words)
        edit = self.operator.open(rule + "/edit").form(rule + "/edit")
        self.assertEqual(edit.value("client_rate"), "7")
        same = self.operator.submit(edit, "Preview")
        self.assertIn("Nothing is different", same.words)
        for fields in ({"client_rate": "", "ticket": "4711"}, {"expires_at": "3d"}):
            preview = self.operator.submit(self.operator.open(rule + "/edit").form(rule + "/edit"), "Preview", **fields).form(rule + "/edit")
            change = self.operator.submit(preview, "Change")
            self.assertIn("ticket=4711", change.words)
            self.assertIn("as you want them already", self.operator.submit(preview, "Change").words, "pressed twice")
        self.assertIn("\\u202e", listed("--json"), "what was not edited is as it was")
        remove = self.operator.open(rule + "/remove")
        self.assertIn("1 removed", remove.words)
        self.operator.submit(remove.form(rule + "/remove"), "Remove")
        self.operator.open(rule, 404)
        self.operator.open(rule + "/edit", 404)

    def test_several_are_removed_together(self):
        for network in ("192.0.2.81", "192.0.2.82"):
            gateway.access("deny", network, "--note", "marked")
        page = self.operator.open("/rules?note=marked")
        self.assertEqual(page.text.count('form="selection"'), 2)
        self.assertNotIn("selection", self.viewer.open("/rules?note=marked").text)
        rules = [link.rsplit("/", 1)[1] for network in ("192.0.2.81", "192.0.2.82") for link in page.links[network]]
        self.assertIn("first", self.operator.submit(page.form("/rules/remove"), "Remove selected", 400).words)
        preview = self.operator.open("/rules/remove?id=" + "&id=".join(rules))
        self.assertIn("2 removed", preview.words)
        self.assertIn("192.0.2.82", listed(), "nothing has been done yet")
        change = self.operator.submit(preview.form("/rules/remove"), "Remove")
        for network in ("192.0.2.81", "192.0.2.82"):
            self.assertNotIn(network, listed())
        self.operator.submit(preview.form("/rules/remove"), "Remove", 404)
        [undo] = change.links["Undo this change"]
        self.operator.submit(self.operator.open(undo).form(undo), "Undo")
        self.assertIn("192.0.2.82", listed())
        self.viewer.open("/rules/remove?id=1", 403)

    def test_another_editor_was_faster(self):
        admin = browsers["admin"]
        self.operator.submit(add(self.operator, networks="192.0.2.20", verdict="deny").form("/rules/add"), "Add")
        [rule] = self.operator.open("/rules?match=192.0.2.20").links["192.0.2.20"]
        mine, theirs = self.operator.open(rule + "/edit").form(rule + "/edit"), admin.open(rule + "/edit").form(rule + "/edit")
        mine_previewed = self.operator.submit(mine, "Preview", note="mine").form(rule + "/edit")
        removal = self.operator.open(rule + "/remove").form(rule + "/remove")
        admin.submit(admin.submit(theirs, "Preview", note="theirs").form(rule + "/edit"), "Change")
        for late in (self.operator.submit(mine, "Preview", 412, note="mine"), self.operator.submit(mine_previewed, "Change", 412)):
            self.assertIn("Somebody else has changed this rule", late.words)
            self.assertIn("theirs", late.words)
            self.assertIn("mine", late.words)
        self.assertIn("theirs", self.operator.submit(removal, "Remove", 412).words)
        self.assertIn("theirs", listed("--match", "192.0.2.20"))
        [again] = late.links["Edit the rule as it is now"]
        self.assertEqual(self.operator.open(again).form(rule + "/edit").value("note"), "theirs")

    def test_what_is_done_is_what_was_shown(self):
        admin = browsers["admin"]
        mine = add(self.operator, networks="192.0.2.24", verdict="deny", note="mine").form("/rules/add")
        theirs = add(admin, networks="192.0.2.24", verdict="deny", note="theirs", expires_at="7d").form("/rules/add")
        admin.submit(theirs, "Add")
        self.assertIn("as you want them already", admin.submit(theirs, "Add").words, "pressed twice")
        late = self.operator.submit(mine, "Add", 412)
        self.assertIn("by somebody else, or by this form", late.words)
        self.assertIn("0 rules to be added, 1 changed", late.words)
        self.assertIn("theirs", listed("--match", "192.0.2.24"))
        self.operator.submit(late.form("/rules/add"), "Add")
        self.assertIn("mine", listed("--match", "192.0.2.24"))
        dated = self.operator.submit(self.operator.open("/rules/import").form("/rules/import"), "Preview",
                                     text="deny 192.0.2.23 expires=2099-12-30T00:00:30Z\n").form("/rules/import")
        gateway.access("deny", "192.0.2.23", "--expires", "2099-12-30T00:00:00Z")
        late = self.operator.submit(dated, "Import", 412)
        self.assertIn("0 rules to be added, 1 changed", late.words, "it is half a minute, but what was wanted")
        first = self.operator.submit(self.operator.open("/rules/import").form("/rules/import"), "Preview", text="deny 192.0.2.25 set=shown\n")
        self.operator.submit(first.form("/rules/import"), "Import")
        list_ = self.operator.submit(self.operator.open("/rules/import").form("/rules/import"), "Preview",
                                     text="192.0.2.26\n", verdict="deny", set="shown", replace="set").form("/rules/import")
        admin.submit(add(admin, networks="192.0.2.27", verdict="deny", set="shown").form("/rules/add"), "Add")
        late = self.operator.submit(list_, "Import", 412)
        self.assertIn("- deny 192.0.2.27", late.words)
        self.assertIn("192.0.2.27", listed("--set", "shown"))
        self.operator.submit(late.form("/rules/import"), "Import")
        self.assertNotIn("192.0.2.27", listed("--set", "shown"))

    def test_what_is_undone_is_what_was_shown(self):
        admin = browsers["admin"]
        self.operator.submit(add(self.operator, networks="192.0.2.29", verdict="deny").form("/rules/add"), "Add")
        number = json.loads(gateway.access("history", "192.0.2.29", "--json"))["changes"][-1]["change"]
        path = f"/rules/changes/{number}/undo"
        shown = self.operator.open(path).form(path)
        admin.submit(add(admin, networks="192.0.2.29", verdict="deny", note="theirs").form("/rules/add"), "Add")
        late = self.operator.submit(shown, "Undo", 412)
        self.assertIn("Nothing was done now, because rules have changed since that was shown", late.words)
        self.assertIn("undo the later changes first", late.words)
        self.assertIn("theirs", listed("--match", "192.0.2.29"))

    def test_a_list_that_was_shown_can_be_imported(self):
        text = "#" * (1 << 20) + "\n" * ((3 << 20) - 100) + "deny 192.0.2.28\n"
        preview = self.operator.submit(self.operator.open("/rules/import").form("/rules/import"), "Preview", text=text)
        # As browsers send the ends of lines.
        shown = preview.form("/rules/import")
        self.operator.submit(shown, "Import", text=shown.value("text").replace("\n", "\r\n"))
        self.assertIn("192.0.2.28", listed())

    def test_what_was_typed_outlives_the_session(self):
        late = Browser(console_port).log_in("operator-person", PASSWORD)
        form = late.open("/rules/import").form("/rules/import")
        text = "".join(f"deny 10.77.{number}.0/24\n" for number in range(250)) + "deny 10.78.0.0/16 # <b>\n"
        late.submit(late.open("/").form("/logout"), "Log out")
        self.assertIn("Nothing was done", late.submit(form, "Preview", 401, text=text).words)
        late.log_in("operator-person", PASSWORD)
        again = late.submit(form, "Preview", 403, text=text)
        preview = late.submit(again.form("/rules/import"), "See what it would do")
        self.assertIn("251 rules to be added", preview.words)
        self.assertNotIn("10.77.", listed())

    def test_of_what_was_typed_no_more_is_kept_than_a_form_has(self):
        form = self.operator.open("/rules/import").form("/rules/import")
        form.fields = [("csrf_token", "an older one"), ("text", "deny 10.79.0.0/16"), ("step", "do"), ("other", "<"), ("/rules/add", "x")]
        again = self.operator.submit(form, "Preview", 403).form("/rules/import")
        self.assertEqual([name for name, _ in again.fields if name != "csrf_token"], ["text"])
        self.assertIn("too old", self.operator.submit(form, "Preview", 403, text="deny 10.79.0.0/16 " + "<" * (64 << 10)).words)
        form.type, form.fields = "application/x-www-form-urlencoded", form.fields + [("a", "<")] * 100_000
        again = self.operator.submit(form, "Preview", 403)
        self.assertEqual(again.form("/rules/import").value("text"), "deny 10.79.0.0/16")
        self.assertLess(len(again.text), 10_000)

    def test_orders_outlive_the_session(self):
        late = Browser(console_port).log_in("operator-person", PASSWORD)
        drain = late.open("/servers/mail/mail1/drain").form("/servers/mail/mail1/drain")
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.31"))) as client:
            proxyclient.read_line(client)
            [live] = gateway.ask("GET", "/api/v1/sessions/live?client=192.0.2.31")[1]["sessions"]
            path = f"/sessions/{live['session']}/end"
            end = late.open(path).form(path)
            late.submit(late.open("/").form("/logout"), "Log out")
            for form, button in ((drain, "Drain"), (end, "End session")):
                self.assertIn("Nothing was done", late.submit(form, button, 401).words)
            late.log_in("operator-person", PASSWORD)
            again = late.submit(end, "End session", 403)
            self.assertIn(live["session"], again.words)
            self.assertTrue(gateway.ask("GET", "/api/v1/sessions/live?client=192.0.2.31")[1]["sessions"], "nothing is done yet")
            late.submit(again.form(path), "End session")
            self.assertIn(b"421", proxyclient.read_line(client))
        again = late.submit(drain, "Drain", 403)
        self.assertIn("Drain mail/mail1", again.words)
        late.submit(again.form("/servers/mail/mail1/drain"), "Do it")
        gateway.wait_event("admin.order", order="drain", target="mail/mail1", user="operator-person (console)")
        gateway.run("server", "ready", "mail/mail1")

    def test_changes_have_one_number(self):
        gateway.access("deny", "192.0.2.90")
        number = json.loads(gateway.access("history", "192.0.2.90", "--json"))["changes"][-1]["change"]
        self.viewer.open(f"/rules/changes/{number}")
        for other in (f"0{number}", f"+{number}", "x", f"{number}x"):
            self.viewer.open(f"/rules/changes/{other}", 404)
        self.operator.open(f"/rules/changes/0{number}/undo", 404)

    def test_what_is_wrong_is_said_beside_the_form(self):
        for values, status, words in (({"networks": "192.0.2.1/24", "verdict": "deny"}, 400, "did you mean"),
                                      ({"networks": "192.0.2.1"}, 400, "expected"),
                                      ({"networks": "", "verdict": "deny"}, 400, "missing"),
                                      ({"networks": "192.0.2.1", "verdict": "deny", "expires_at": "soon"}, 400, "expires_at"),
                                      ({"networks": "192.0.2.1", "verdict": "allow", "client_rate": "many"}, 400, "whole number"),
                                      ({"networks": "192.0.2.1", "verdict": "deny", "set": "a b"}, 422, "not a set's name"),
                                      ({"networks": EVIL, "verdict": "deny", "note": EVIL}, 400, "alert(1)")):
            with self.subTest(values=values):
                page = add(self.operator, status=status, **values)
                self.assertIn(words, page.words)
                self.assertEqual(page.form("/rules/add").value("networks").replace("\\u202e", "\u202e"), values["networks"], "and what was typed is still there")
        hazardous = add(self.operator, status=409, networks="0.0.0.0/0", verdict="allow")
        self.assertIn("all of IPv4", hazardous.words)
        preview = self.operator.submit(hazardous.form("/rules/add"), "Preview", force=["true"])
        self.operator.submit(preview.form("/rules/add"), "Add")
        self.assertIn("0.0.0.0/0", listed())
        gateway.access("remove", "0.0.0.0/0")

    def test_a_denial_may_end_sessions(self):
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.30"))) as client:
            proxyclient.read_line(client)
            preview = add(self.operator, networks="192.0.2.30", verdict="deny", cut=["true"])
            self.assertIn("1 session from there under way now", preview.words)
            done = self.operator.submit(preview.form("/rules/add"), "Add")
            self.assertIn("Sessions that were ended: 1", " ".join(done.words.split()))

    def test_why_an_address_is_refused(self):
        gateway.access("deny", "192.0.2.40", "--note", "known spammer", "--listener", "smtp")
        page = self.viewer.open("/rules/why")
        page = self.viewer.submit(page.form("/rules/why"), "Ask", address="192.0.2.40")
        words = " ".join(page.words.split())
        self.assertIn("Listener smtp: refused", words)
        self.assertIn("known spammer", words)
        self.assertIn("Listener second: admitted", words)
        self.assertIn("is not an IP address", self.viewer.open("/rules/why?address=%3Cb%3E", 400).words)
        [allow] = self.operator.open("/rules/why?address=192.0.2.40").links["Allow it"]
        self.assertEqual(self.operator.open(allow).form("/rules/add").value("networks"), "192.0.2.40")

    def test_a_list_is_imported(self):
        self.operator.open("/rules?set=office", 404)
        form = self.operator.open("/rules/import").form("/rules/import")
        text = "deny 10.1.0.0/16 set=office # one\nallow 10.1.2.0/24 set=office\n"
        preview = self.operator.submit(form, "Preview", text=text)
        self.assertIn("2 rules to be added", preview.words)
        self.operator.submit(preview.form("/rules/import"), "Import")
        self.assertIn("10.1.2.0/24", listed("--set", "office"))
        form = self.operator.open("/rules/import").form("/rules/import")
        preview = self.operator.submit(form, "Preview", files={"list": "10.2.0.0/16\r\n10.1.0.0/16\r\n"}, text="", verdict="deny", set="office", replace="set")
        self.assertIn("1 rule to be added, 0 changed, 1 removed", preview.words)
        for line in ("+ deny 10.2.0.0/16", "- allow 10.1.2.0/24"):
            self.assertIn(line, preview.words)
        self.operator.submit(preview.form("/rules/import"), "Import")
        self.assertEqual(listed("--set", "office", "--json").count('"network"'), 2)
        wrong = self.operator.submit(form, "Preview", 422, text="deny 10.3.0.0/16\n<b>nonsense\n")
        self.assertIn("Line 2:", wrong.words)
        self.assertIn("<b>nonsense", wrong.form("/rules/import").value("text"))
        self.operator.submit(form, "Preview", 400, files={"list": "deny 10.3.0.0/16\n"}, text="deny 10.4.0.0/16")
        self.operator.submit(form, "Preview", 413, text="# " + "x" * (5 << 20))
        many = "".join(f"deny 10.{number // 256}.{number % 256}.0/24 set=many\n" for number in range(2_000))
        preview = self.operator.submit(form, "Preview", text=many)
        self.assertIn("2,000 rules to be added", preview.words)
        self.assertIn("and 1,800 more", preview.words)
        change = self.operator.submit(preview.form("/rules/import"), "Import")
        page = self.operator.open("/rules?set=many")
        self.assertIn("2,000 rules found", page.words)
        [more] = page.links["More rules"]
        shown = [{link for link in one.links if link.startswith("10.")} for one in (page, self.operator.open(more))]
        self.assertEqual([len(links) for links in shown], [100, 100])
        self.assertFalse(shown[0] & shown[1])
        [undo] = change.links["Undo this change"]
        self.operator.submit(self.operator.open(undo).form(undo), "Undo")
        self.assertEqual(listed("--json").count('"many"'), 0)

    def test_who_may_not_and_who_is_not_there(self):
        gateway.access("deny", "192.0.2.50")
        page = self.viewer.open("/rules?match=192.0.2.50")
        [rule] = page.links["192.0.2.50"]
        self.assertNotIn("Edit", page.links)
        for path in ("/rules/add", "/rules/import", rule + "/edit", rule + "/remove", "/rules/changes/1/undo"):
            self.assertIn("role operator", self.viewer.open(path, 403).words)
        remove = self.operator.open(rule + "/remove").form(rule + "/remove")
        own_token = self.viewer.open("/rules").form("/logout").value("csrf_token")
        fields = [("etag", remove.value("etag")), ("step", "do"), ("csrf_token", own_token)]
        self.viewer.send(remove, fields, 403)
        self.operator.send(remove, fields, 403)
        self.operator.send(remove, [("etag", remove.value("etag")), ("step", "do")], 403)
        self.operator.submit(remove, "Remove", 403, headers={"Sec-Fetch-Site": "cross-site"})
        other = Browser(console_port).log_in("operator-person", PASSWORD)
        form = other.open(rule + "/remove").form(rule + "/remove")
        other.submit(other.open("/").form("/logout"), "Log out")
        gone = other.submit(form, "Remove", 401)
        self.assertIn("/login", gone.links["Log in"])
        other.log_in("operator-person", PASSWORD)
        again = other.submit(form, "Remove", 403)
        self.assertIn("192.0.2.50", listed())
        preview = other.submit(again.form(rule + "/remove"), "See what it would do")
        self.assertIn("1 removed", preview.words)
        self.assertIn("192.0.2.50", listed())
        for path in ("/rules/x", "/rules/-1", "/rules/99999999999999999999", "/rules/changes/99999", "/rules/x/edit", "/rules/%00/remove", "/rules/1/nothing"):
            with self.subTest(path=path):
                self.operator.open(path, 404)
        self.operator.open("/rules/changes/x", 404)
        self.operator.open("/rules/changes/x/undo", 404)


class Overview(unittest.TestCase):
    def test_what_the_day_was_like(self):
        page = browsers["viewer"].open("/")
        self.assertRegex(" ".join(page.words.split()), r"Last 24 hours \d+ sessions?, \d+ refused, \d+ with failed logins")


class Servers(unittest.TestCase):
    def test_a_server_is_drained_and_put_back(self):
        operator, viewer = browsers["operator"], browsers["viewer"]
        seen = viewer.open("/servers")
        self.assertIn("mail1", seen.words)
        self.assertEqual([form.action for form in seen.forms], ["/logout"])
        for path in ("/servers/mail/mail1/drain", "/servers/mail/mail1/ready", "/servers/mail/mail1/probe"):
            viewer.open(path, 403)
        with contextlib.closing(proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.60"))) as client:
            proxyclient.read_line(client)
            drain = operator.open("/servers").links["Drain"][0]
            asked = operator.open(drain)
            self.assertIn("1 session with it now", asked.words)
            self.assertIn("No other server of mail takes sessions", asked.words)
            form = asked.form(drain)
            viewer.send(form, [("csrf_token", viewer.open("/").form("/logout").value("csrf_token"))], 403)
            operator.send(form, [("csrf_token", "x")], 403)
            self.assertIn("ready", operator.open("/servers").words)
            page = operator.submit(form, "Drain")
            self.assertIn("drained", page.words)
            self.assertIn("drained", viewer.open("/").words)
        page = operator.submit(page.form("/servers/mail/mail1/ready"), "Put back")
        self.assertEqual(len(page.links["Drain"]), 2)
        gateway.wait_event("admin.order", order="ready", target="mail/mail1", user="operator-person (console)", ok=True)
        for path in ("/servers/mail/gone/drain", "/servers/mail/mail1", "/servers/%00/x/drain", "/servers/mail/mail1/burn"):
            operator.open(path, 404)
        operator.open("/servers/mail/mail1/probe", 405)

    def test_a_server_is_probed(self):
        operator = browsers["operator"]
        page = operator.submit(operator.open("/servers").form("/servers/plain/plain1/probe"), "Probe")
        self.assertIn(f"127.0.0.1:{plain.port}", page.words)
        self.assertIn("does not expect a PROXY header", page.words)
        gateway.wait_event("admin.order", order="probe", target="plain/plain1", ok=True)

    def test_a_program_gets_what_the_command_prints(self):
        token = gateway.run("console", "token", "add", "probing", "--role", "operator").stdout.strip()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=60)) as connection:
            connection.request("POST", "/api/v1/servers/plain/plain1/probe", "{}",
                               {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        self.assertEqual(answer, json.loads(gateway.run("probe", "plain/plain1", "--json").stdout))


class Configuration(unittest.TestCase):
    def test_what_is_in_force_and_lines_for_the_neighbours(self):
        admin = browsers["admin"]
        for role in ("viewer", "operator"):
            self.assertNotIn("Configuration", browsers[role].open("/").links)
            self.assertIn("role", browsers[role].open("/configuration", 403).words)
            browsers[role].open("/configuration/snippets/postfix", 403)
        [configuration] = admin.open("/").links["Configuration"]
        page = admin.open(configuration)
        for words in (str(gateway.config), "[gateway]", "max_sessions", "50000", "is the value", "Settings of listener second", f"Server mail/mail1, 127.0.0.1:{mail.port}"):
            self.assertIn(words, page.words)
        [link] = page.links["postfix"]
        self.assertIn("smtpd_upstream_proxy_protocol=haproxy", admin.open(link).words)
        self.assertEqual("".join(admin.open("/configuration/snippets/haproxy").words.split()).count("send-proxy-v2"),
                         gateway.run("snippet", "haproxy").stdout.count("send-proxy-v2"))
        admin.open("/configuration/snippets/nothing", 404)
        admin.open("/configuration/nothing", 404)


class Empty(unittest.TestCase):
    def test_it_says_what_to_do_first(self):
        port = reserve_port()
        empty = scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                                name="empty", console={"address": f"127.0.0.1:{port}"}))
        empty.run("console", "user", "add", "alice", "--role", "operator", stdin=PASSWORD + "\n")
        alice = Browser(port).log_in("alice", PASSWORD)
        page = alice.open("/rules")
        self.assertIn("There are no rules yet", page.words)
        self.assertEqual(page.links["Add the first rule"], ["/rules/add"])
        self.assertIn("No rule has been changed yet", alice.open("/rules/history").words)
        preview = alice.submit(alice.open("/rules/add").form("/rules/add"), "Preview", networks="192.0.2.1", verdict="deny")
        self.assertIn("No session of the last seven days would have been decided otherwise", preview.words)
        alice.submit(preview.form("/rules/add"), "Add")
        again = alice.submit(preview.form("/rules/add"), "Add")
        self.assertIn("as you want them already", again.words)


if __name__ == "__main__":
    unittest.main()
