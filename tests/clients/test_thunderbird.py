"""Thunderbird with a new profile: accounts, reading, moving, deleting, searching, sending, new mail at once.

Driven from within (marionette.py) by what its windows call; submission goes through a real compose window.
"""
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

import pytest
from marionette import Marionette
from system_conftest import wait_until

pytestmark = pytest.mark.skipif(shutil.which("thunderbird") is None, reason="thunderbird is not installed")

HOST = "mail.example.test"
PREFERENCES = {
    "network.dns.localDomains": HOST,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mailnews.start_page.enabled": False,
    "mail.biff.play_sound": False,
    "extensions.systemAddon.update.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
}

# Names that later scripts use; they are kept in the window.
TOOLS = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const win = Services.wm.getMostRecentWindow("mail:3pane");
const sleep = ms => new Promise(r => win.setTimeout(r, ms));
const until = async (what, f) => {
  for (let i = 0; i < 300; i++) { const v = f(); if (v) return v; await sleep(50); }
  throw new Error("waited for " + what);
};
const done = (what, start) => new Promise((resolve, reject) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
  OnStartRunningUrl() {},
  OnStopRunningUrl(url, status) { status ? reject(new Error(`${what}: ${status.toString(16)}`)) : resolve(); },
}));
const server = type => MailServices.accounts.allServers.find(s => s.type == type);
const folder = (type, name) => server(type).rootFolder.descendants.find(f => f.name.toLowerCase() == name.toLowerCase());
const headers = f => Array.from(f.messages);
const by_subject = (f, s) => headers(f).find(h => h.mime2DecodedSubject == s);
const update = f => done("update " + f.name, l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l));
"""

ADD_ACCOUNT = """
const [type, host, port, user, password, smtp] = args;
const s = MailServices.accounts.createIncomingServer(user, host, type);
s.port = port;
s.socketType = Ci.nsMsgSocketType.alwaysSTARTTLS;
s.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
s.password = password;
s.valid = true;
const account = MailServices.accounts.createAccount();
const identity = MailServices.accounts.createIdentity();
identity.email = user; identity.fullName = "Test"; identity.composeHtml = false;
identity.valid = true;
account.incomingServer = s;
account.addIdentity(identity);
if (smtp) {
  const out = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
  out.hostname = host; out.port = smtp; out.username = user;
  out.socketType = Ci.nsMsgSocketType.SSL; out.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  out.password = password;
  MailServices.outgoingServer.defaultServer = out;
  identity.smtpServerKey = out.key;
}
"""

TRUST = """
const [pem, host, ports] = args;
const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const cert = db.constructX509FromBase64(pem.split("\\n").filter(l => !l.startsWith("-")).join(""));
const exceptions = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
for (const port of ports) exceptions.rememberValidityOverride(host, port, {}, cert, false);
"""

READ = """
const [type, name, subject] = args;
const f = folder(type, name), h = by_subject(f, subject);
const service = MailServices.messageServiceFromURI(f.getUriForMsg(h));
const stream = Cc["@mozilla.org/network/sync-stream-listener;1"].createInstance(Ci.nsISyncStreamListener);
service.streamMessage(f.getUriForMsg(h), stream, null, null, false, "", false);
const input = stream.inputStream;
let text = "";
for (;;) { const n = input.available(); if (!n) break; text += NetUtil.readInputStreamToString(input, n); }
f.markMessagesRead([h], true);
return text;
"""

SEARCH = """
const [name, text] = args;
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
const hits = [];
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder("imap", name));
const term = session.createTerm(), value = term.value;
value.attrib = term.attrib = Ci.nsMsgSearchAttrib.Body;
value.str = text; term.value = value; term.op = Ci.nsMsgSearchOp.Contains;
session.appendTerm(term);
await new Promise(resolve => { session.registerListener({
  onNewSearch() {}, onSearchHit(h) { hits.push(h.mime2DecodedSubject); }, onSearchDone() { resolve(); },
}); session.search(null); });
return hits.sort();
"""

SEND = """
const [to, subject, body] = args;
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.to = to; fields.subject = subject; fields.body = body;
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = fields; params.type = Ci.nsIMsgCompType.New; params.format = Ci.nsIMsgCompFormat.PlainText;
params.identity = MailServices.accounts.findAccountForServer(server("imap")).defaultIdentity;
MailServices.compose.OpenComposeWindowWithParams(null, params);
const w = await until("compose window", () => Services.wm.getMostRecentWindow("msgcompose"));
await until("its editor", () => w.composeEditorReady);
w.goDoCommand("cmd_sendNow");
await until("sending", () => w.closed);
"""


class Thunderbird:
    def __init__(self, folder):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        os.makedirs(f"{folder}/profile")
        with open(f"{folder}/profile/user.js", "w") as f:
            for name, value in {**PREFERENCES, "marionette.port": port}.items():
                f.write(f'user_pref("{name}", {str(value).lower() if isinstance(value, bool) else repr(value)});\n')
        self.log = open(f"{folder}/log", "wb")
        self.process = subprocess.Popen(
            ["thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", f"{folder}/profile"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "HOME": folder})
        self.remote = Marionette(port, 90)
        self.remote.run("""for (let i = 0; i < 600 && !Services.wm.getMostRecentWindow("mail:3pane"); i++)
            await new Promise(r => ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs").setTimeout(r, 50));""")

    def run(self, body, *args):
        return self.remote.run("const { NetUtil } = ChromeUtils.importESModule('resource://gre/modules/NetUtil.sys.mjs');"
                               + TOOLS + body, *args)

    def close(self):
        self.remote.close()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def thunderbird(suite):
    folder = tempfile.mkdtemp(prefix="pp-thunderbird-")
    t = Thunderbird(folder)
    with open(f"{suite.dir}/tls/cert.pem") as f:
        t.run(TRUST, f.read(), HOST, [suite.port(s) for s in ("imap", "pop3", "submissions")])
    yield t
    t.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def account(suite, thunderbird):
    """alice's account by IMAP, her Inbox with three messages."""
    for n in range(3):
        suite.send("alice", content=f"From: s@example.net\r\nTo: alice@example.test\r\nSubject: =?utf-8?q?n=C3=BCmber_{n}?=\r\n"
                                    f"Message-ID: <{n}@example.net>\r\n\r\nneedle{n} in the hay\r\n".encode())
    suite.wait_mail("alice", 3)
    thunderbird.run(ADD_ACCOUNT, "imap", HOST, suite.port("imap"), "alice@example.test", suite.password("alice"),
                    suite.port("submissions"))
    thunderbird.run("""server("imap").performExpand(null); await until("folders", () => folder("imap", "Sent"));
        await update(folder("imap", "Inbox"));
        await until("messages", () => headers(folder("imap", "Inbox")).length == 3);""")
    return thunderbird


def flags(suite, folder, text):
    """Of the file that has the text: what stands behind ":2,"."""
    for path in suite.files("alice", folder):
        with open(path, "rb") as f:
            if text in f.read():
                return path.rpartition(":2,")[2] if ":2," in path else ""
    return None


def test_folders(suite, account):
    special = account.run("""const F = Ci.nsMsgFolderFlags;
        return [F.SentMail, F.Drafts, F.Trash, F.Junk, F.Archive].map(flag => server("imap").rootFolder.getFolderWithFlags(flag)?.filePath.leafName)""")
    assert special == ["Sent", "Drafts", "Trash", "Junk", "Archive"]


def test_read(suite, account):
    assert "needle1 in the hay" in account.run(READ, "imap", "Inbox", "nümber 1")
    wait_until(lambda: flags(suite, "", b"needle1") == "S", 20, "the flag on disk")
    assert flags(suite, "", b"needle2") == ""


def test_search(account):
    assert account.run(SEARCH, "Inbox", "needle2") == ["nümber 2"]
    assert account.run(SEARCH, "Inbox", "in the hay") == ["nümber 0", "nümber 1", "nümber 2"]


def test_create_and_move(suite, account):
    account.run("""server("imap").rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Archive).createSubfolder("Ärchiv", null);
        await until("folder", () => folder("imap", "Ärchiv"));""")
    account.run("""const from = folder("imap", "Inbox");
        MailServices.copy.copyMessages(from, [by_subject(from, "nümber 1")], folder("imap", "Ärchiv"), true, null, null, false);
        await until("departure", () => headers(from).length == 2);""")
    account.run("""await update(folder("imap", "Ärchiv"));
        await until("arrival", () => by_subject(folder("imap", "Ärchiv"), "nümber 1"));""")
    assert flags(suite, ".Archive.&AMQ-rchiv", b"needle1") == "S"
    assert flags(suite, "", b"needle1") is None


def test_delete(suite, account):
    account.run("""const f = folder("imap", "Inbox");
        f.deleteMessages([by_subject(f, "nümber 0")], null, false, false, null, false);
        await until("deletion", () => headers(f).length == 1);""")
    wait_until(lambda: flags(suite, ".Trash", b"needle0") is not None, 20, "the message in Trash")
    assert flags(suite, "", b"needle0") is None


def test_send(suite, account):
    account.run(SEND, "bob@example.test", "written in a window", "Hello Bob.")
    suite.wait_mail("bob", 1)
    assert b"Subject: written in a window" in open(suite.files("bob")[0], "rb").read()
    wait_until(lambda: flags(suite, ".Sent", b"written in a window") == "S", 20, "the copy in Sent")


def test_new_mail_at_once(suite, account):
    """In IDLE: nothing asks for it."""
    suite.send("alice", subject="just now")
    account.run("""await until("new mail", () => by_subject(folder("imap", "Inbox"), "just now"));""")


def test_pop3(suite, thunderbird, account):
    suite.wait_mail("bob", 1)
    thunderbird.run(ADD_ACCOUNT, "pop3", HOST, suite.port("pop3"), "bob@example.test", suite.password("bob"), 0)
    got = thunderbird.run("""const s = server("pop3"), f = folder("pop3", "Inbox");
        s.QueryInterface(Ci.nsIPop3IncomingServer).leaveMessagesOnServer = true;
        const get = () => done("get", l => MailServices.pop3.GetNewMail(null, l, f, s));
        await get(); await get();	// the second time nothing is new
        return headers(f).map(h => h.mime2DecodedSubject);""")
    assert got == ["written in a window"]
    assert "Hello Bob." in thunderbird.run(READ, "pop3", "Inbox", "written in a window")
