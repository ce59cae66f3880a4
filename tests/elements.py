"""What a page is made of."""

from html.parser import HTMLParser

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m'\"&"


class Elements(HTMLParser):
    """Tags with their attributes, ids, and the text of scripts and style sheets."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.raw = [], [], []
        self._inside = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self._inside = (tag, found.get("type")) if tag in {"script", "style"} else None

    def handle_data(self, data):
        if self._inside:
            self.raw.append((*self._inside, data))

    def handle_endtag(self, tag):
        del tag
        self._inside = None
