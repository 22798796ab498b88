# SPDX-License-Identifier: Apache-2.0
"""A browser without scripts: it follows links, fills in the forms of a page and sends them, and holds every page to what all
have to be: well-formed, with a label for each field, headings and captions, and nothing that is not ours."""

import contextlib
import html.parser
import http.client
import re
import urllib.parse


class Form:
    def __init__(self, attributes):
        self.method = attributes.get("method", "get").upper()
        self.action = attributes["action"]
        self.type = attributes.get("enctype", "application/x-www-form-urlencoded")
        self.fields = []  # [name, value], in their order
        self.choices = {}  # what is not sent unless it is chosen: name -> values
        self.buttons = {}  # words -> (name, value)

    def value(self, name):
        [value] = [value for key, value in self.fields if key == name]
        return value


class Page(html.parser.HTMLParser):
    VOID = {"meta", "link", "input", "img"}

    def __init__(self, status, headers, text):
        super().__init__(convert_charrefs=True)
        self.status, self.headers, self.text = status, headers, text
        self.open, self.tags, self.links, self.forms, self.words = [], [], {}, [], ""
        self.ids, self.needed, self.labels = [], set(), set()
        self.link = self.button = self.area = self.select = None
        self.feed(text)
        self.close()
        assert self.open == [], self.open
        assert self.needed <= self.labels, f"without a label: {self.needed - self.labels}"
        assert len(set(self.ids)) == len(self.ids), f"an id twice: {self.ids}"
        assert self.tags.count("h1") == 1 and self.tags.count("main") == 1, self.tags
        assert self.tags.count("table") == self.tags.count("caption"), self.tags
        assert "style" not in self.tags and "iframe" not in self.tags, self.tags
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", self.words), "text is turned"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        attributes = {name: value or "" for name, value in attributes}
        assert len(set(names)) == len(names), names
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes), attributes
        assert tag != "script" or attributes.get("src", "").startswith("/"), attributes
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.link = attributes["href"]
        elif tag == "form":
            self.forms.append(Form(attributes))
        elif tag == "label":
            self.labels.add(attributes["for"])
        elif tag in ("input", "select", "textarea"):
            self.field(tag, attributes)
        elif tag == "option" and (self.select[1] is None or "selected" in attributes):
            self.select[1] = attributes["value"]
        elif tag == "button":
            self.button = (attributes.get("name"), attributes.get("value", ""))

    def field(self, tag, attributes):
        kind = attributes.get("type", "text")
        if kind != "hidden" and not attributes.get("aria-label"):
            self.needed.add(attributes["id"])
        if "form" in attributes:
            return  # of one that is elsewhere
        field = [attributes["name"], attributes.get("value", "") if tag == "input" else None]
        if kind in ("checkbox", "radio"):
            self.forms[-1].choices.setdefault(field[0], []).append(field[1])
            if "checked" not in attributes:
                return
        self.forms[-1].fields.append(field)
        if tag == "select":
            self.select = field
        elif tag == "textarea":
            field[1], self.area = "", field

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
        if tag == "a":
            self.link = None
        elif tag == "button":
            self.button = None
        elif tag == "textarea":
            self.area[1] = self.area[1].removeprefix("\n")
            self.area = None

    def handle_data(self, data):
        self.words += data + " "
        if self.link is not None:
            self.links.setdefault(data.strip(), []).append(self.link)
        if self.area is not None:
            self.area[1] += data
        if self.button is not None:
            self.forms[-1].buttons[data.strip()] = self.button

    def form(self, action):
        [form] = [form for form in self.forms if form.action == action]
        return form

    def times(self):
        """What is marked as one, and what looks like one: (instants, texts)"""
        return re.findall(r'<time datetime="([^"]+)"', self.text)


class Browser:
    def __init__(self, port, cookie=None):
        self.port, self.cookie = port, cookie

    def request(self, method, target, body=None, headers=None):
        sent = {"Cookie": self.cookie} if self.cookie else {}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, target, body, {**sent, **(headers or {})})
            got = connection.getresponse()
            text = got.read().decode()
        assert "default-src 'self'" in got.headers["Content-Security-Policy"]
        assert got.status == 303 or got.headers["Content-Type"] == "text/html; charset=utf-8", got.headers["Content-Type"]
        if got.status == 303:
            return got.status, got.headers, None
        return got.status, got.headers, Page(got.status, got.headers, text)

    def log_in(self, user, password):
        _, headers, _ = self.request("POST", "/login", urllib.parse.urlencode({"user": user, "password": password}),
                                     {"Content-Type": "application/x-www-form-urlencoded"})
        self.cookie = headers["Set-Cookie"].split(";")[0]
        return self

    def open(self, target, status=200):
        """The page there; a redirection is followed, and the last one is what is compared with `status`."""
        for _ in range(5):
            got, headers, page = self.request("GET", target)
            if got != 303:
                assert got == status, (got, page.words)
                return page
            target = headers["Location"]
        raise AssertionError("redirected without end")

    def submit(self, form, button, status=200, files=None, redirects=True, headers=None, **values):
        """Fills in and sends a form by one of its buttons. A value may be a list: what is chosen of several."""
        assert button in form.buttons, form.buttons
        names = {name for name, _ in form.fields} | set(form.choices)
        assert set(values) <= names, (set(values) - names, names)
        fields = [(name, value) for name, value in form.fields if name not in values and name not in (files or {}) and value is not None]
        for name, value in values.items():
            fields += [(name, one) for one in value] if isinstance(value, list) else [(name, value)]
        if form.buttons[button][0]:
            fields.append(form.buttons[button])
        return self.send(form, fields, status, files, redirects, headers)

    def send(self, form, fields, status=200, files=None, redirects=True, headers=None):
        if form.method == "GET":
            return self.open(form.action + "?" + urllib.parse.urlencode(fields), status)
        if form.type == "multipart/form-data":
            boundary = "----of-this-test"
            parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
            parts += [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n'
                      f"Content-Type: text/plain\r\n\r\n{value}\r\n" for name, value in (files or {}).items()]
            body = ("".join(parts) + f"--{boundary}--\r\n").encode()
            kind = f"multipart/form-data; boundary={boundary}"
        else:
            body, kind = urllib.parse.urlencode(fields), form.type
        got, answered, page = self.request("POST", form.action, body, {"Content-Type": kind, **(headers or {})})
        if got == 303 and redirects:
            return self.open(answered["Location"], status)
        assert got == status, (got, page and page.words)
        return page if page else answered
