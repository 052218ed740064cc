"""A desktop for one test program: an X server without a screen, a session bus with its accessibility bus, and looksay-gui on them.

Keys and clicks are X events (xdotool). What a window shows is read as a screen reader reads it (AT-SPI over D-Bus), and as pixels of
the X server's frame buffer. Needs python3-gi; everything is ended with the program, and two desks do not know of each other.
"""
import array
import atexit
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

from gi.repository import Gio, GLib

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0  # seconds; machines that test are busy
WIDTH, HEIGHT = 1280, 900
ATSPI = "org.a11y.atspi."


def wait_for(what, condition, patience=PATIENCE):
    """Returns the first true result of condition(), which may raise GLib.Error while things are in motion."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            found = condition()
            if found:
                return found
        except GLib.Error as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {patience} s" + (f"; last error: {last}" if last else ""))


class Node:
    """An accessible object."""

    def __init__(self, bus, name, path):
        self.bus, self.name_on_bus, self.path = bus, name, path

    def call(self, interface, method, arguments=None):
        answer = self.bus.call_sync(self.name_on_bus, self.path, interface, method, arguments, None,
                                    Gio.DBusCallFlags.NONE, 5000, None)
        return answer.unpack()

    def get(self, interface, name):
        return self.call("org.freedesktop.DBus.Properties", "Get", GLib.Variant("(ss)", (ATSPI + interface, name)))[0]

    @property
    def name(self):
        return self.get("Accessible", "Name")

    @property
    def description(self):
        return self.get("Accessible", "Description")

    @property
    def role(self):
        return self.call(ATSPI + "Accessible", "GetRoleName")[0]

    @property
    def states(self):
        low, high = self.call(ATSPI + "Accessible", "GetState")[0]
        return low | high << 32

    def has_state(self, number):
        return bool(self.states >> number & 1)

    @property
    def children(self):
        return [Node(self.bus, name, path) for name, path in self.call(ATSPI + "Accessible", "GetChildren")[0]]

    @property
    def text(self):
        return self.call(ATSPI + "Text", "GetText", GLib.Variant("(ii)", (0, self.get("Text", "CharacterCount"))))[0]

    @property
    def extents(self):
        """x, y, width, height in the window."""
        return self.call(ATSPI + "Component", "GetExtents", GLib.Variant("(u)", (1,)))[0]

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def find_all(self, role, name=None):
        return [node for node in self.walk() if re.fullmatch(role, node.role) and (name is None or re.search(name, node.name))]

    def find(self, role, name=None):
        found = self.find_all(role, name)
        return found[0] if found else None


STATE_FOCUSED, STATE_PRESSED, STATE_SHOWING = 12, 20, 25


class Picture:
    """Pixels of the screen: rows of 0xRRGGBB."""

    def __init__(self, width, height, pixels):
        self.width, self.height, self.pixels = width, height, pixels

    def crop(self, x, y, width, height):
        rows = (self.pixels[v * self.width + x:v * self.width + x + width] for v in range(y, y + height))
        out = array.array("I")
        for row in rows:
            out.extend(row)
        return Picture(width, height, out)

    def share_that_differs(self, other):
        """By more than the rounding of a picture that is scaled again."""
        def far(a, b):
            return a != b and max(abs((a >> s & 255) - (b >> s & 255)) for s in (0, 8, 16)) > 12
        return sum(map(far, self.pixels, other.pixels)) / len(self.pixels)

    def brightness(self):
        return sum((p >> 16 & 255) + (p >> 8 & 255) + (p & 255) for p in self.pixels) / 3 / len(self.pixels)

    def save(self, path):
        lines = bytearray()
        for v in range(self.height):
            lines.append(0)
            for p in self.pixels[v * self.width:(v + 1) * self.width]:
                lines += bytes((p >> 16 & 255, p >> 8 & 255, p & 255))

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)) +
                               chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + chunk(b"IEND", b""))


class Desk:
    """One X server and one session bus."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="looksay-gui-"))
        self.children = []
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        home, runtime = self.folder / "home", self.folder / "run"
        for folder in (home, runtime):
            folder.mkdir(mode=0o700)
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(("LOOKSAY_", "XDG_", "DBUS_", "GTK_", "GDK_", "AT_SPI", "WAYLAND_"))}
        self.environment.update(HOME=str(home), XDG_RUNTIME_DIR=str(runtime), GDK_BACKEND="x11", GSK_RENDERER="cairo",
                                GTK_THEME="Adwaita", LC_ALL="C.UTF-8", NO_AT_BRIDGE="0", GSETTINGS_BACKEND="memory",
                                GTK_A11Y="atspi")
        reading, writing = os.pipe()
        self.start("Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp", "-noreset",
                   "-fbdir", str(self.folder), pass_fds=(writing,))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        self.environment["DISPLAY"] = ":" + number
        address = f"unix:path={runtime}/bus"
        self.start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}")
        wait_for("the session bus", lambda: (runtime / "bus").exists())
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = address
        self.bus = self.connect(address)
        self.accessibility = self.connect(wait_for("the accessibility bus", self.find_accessibility))

    def start(self, *command, **options):
        child = subprocess.Popen(command, env=self.environment, start_new_session=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.children.append(child)
        return child

    @staticmethod
    def connect(address):
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        return Gio.DBusConnection.new_for_address_sync(address, flags, None, None)

    def find_accessibility(self):
        answer = self.bus.call_sync("org.a11y.Bus", "/org/a11y/bus", "org.a11y.Bus", "GetAddress", None, None,
                                    Gio.DBusCallFlags.NONE, 5000, None)
        return answer.unpack()[0]

    def picture(self):
        """The frame buffer, which Xvfb keeps as an XWD file."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        head = struct.unpack(">25I", data[:100])
        size, width, height, per_line, colors = head[0], head[4], head[5], head[12], head[19]
        assert head[11] == 32 and per_line == 4 * width
        begin = size + 12 * colors
        pixels = array.array("I", data[begin:begin + per_line * height])
        if (head[7] == 0) != (sys.byteorder == "little"):
            pixels.byteswap()
        return Picture(width, height, array.array("I", (p & 0xFFFFFF for p in pixels)))

    def xdotool(self, *words):
        done = subprocess.run(["xdotool", *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise AssertionError(f"xdotool {words}: {done.stderr}")
        return done.stdout

    def close(self):
        for child in reversed(self.children):
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        self.children = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Portal:
    """What tells programs whether the desktop is dark: 1 yes, 2 no, 0 no preference."""

    NAME, PATH, INTERFACE = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop", "org.freedesktop.portal.Settings"
    KEY = "org.freedesktop.appearance", "color-scheme"
    METHOD = "<arg type='s' direction='in'/><arg type='s' direction='in'/><arg type='v' direction='out'/>"

    def __init__(self, desk, dark):
        self.dark = dark
        self.bus = desk.connect(desk.environment["DBUS_SESSION_BUS_ADDRESS"])
        description = f"<node><interface name='{self.INTERFACE}'><method name='Read'>{self.METHOD}</method></interface></node>"
        self.bus.register_object(self.PATH, Gio.DBusNodeInfo.new_for_xml(description).interfaces[0], self.answer, None, None)
        Gio.bus_own_name_on_connection(self.bus, self.NAME, Gio.BusNameOwnerFlags.NONE, None, None)
        self.loop = GLib.MainLoop()
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def answer(self, bus, sender, path, interface, method, arguments, invocation):
        invocation.return_value(GLib.Variant("(v)", (GLib.Variant("v", GLib.Variant("u", self.dark)),)))

    def tell(self, dark):
        self.dark = dark
        self.bus.emit_signal(None, self.PATH, self.INTERFACE, "SettingChanged",
                             GLib.Variant("(ssv)", (*self.KEY, GLib.Variant("u", dark))))

    def close(self):
        self.loop.quit()
        self.thread.join()
        self.bus.close_sync(None)


class Gui:
    """looksay-gui, started and driven."""

    def __init__(self, desk, program, *arguments, model=None, debug=False, environment=None, config=None):
        self.desk = desk
        self.config = Path(config or tempfile.mkdtemp(prefix="config-", dir=desk.folder))
        self.log = tempfile.TemporaryFile()
        self.environment = dict(desk.environment, XDG_CONFIG_HOME=str(self.config))
        env = dict(self.environment, **(environment or {}))
        if debug:
            env["G_MESSAGES_DEBUG"] = "looksay-gui"
        command = [program, *(["--model", str(model)] if model else []), *map(str, arguments)]
        self.process = subprocess.Popen([os.fsencode(word) for word in command], env=env, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        desk.children.append(self.process)
        try:
            self.id = wait_for("the window", self.find_window).split()[-1]
            self.root = wait_for("the window's accessible tree", self.find_root)
            desk.xdotool("windowfocus", "--sync", self.id)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def output(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def find_window(self):
        if self.process.poll() is not None:
            raise AssertionError(f"looksay-gui ended with {self.process.returncode}")
        done = subprocess.run(["xdotool", "search", "--onlyvisible", "--pid", str(self.process.pid), "--name", "."],
                              env=self.desk.environment, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout.strip()

    def find_root(self):
        registry = Node(self.desk.accessibility, "org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root")
        for node in registry.children:
            owner = self.desk.accessibility.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                                      "GetConnectionUnixProcessID", GLib.Variant("(s)", (node.name_on_bus,)), None,
                                                      Gio.DBusCallFlags.NONE, 5000, None).unpack()[0]
            if owner == self.process.pid and node.children:
                return node
        return None

    # ---- what it shows ----

    def find(self, role, name=None):
        return wait_for(f"a {role} named {name}", lambda: self.root.find(role, name))

    def wait_for_text(self, role, pattern):
        return wait_for(f"a {role} that says {pattern}", lambda: self.root.find(role, pattern))

    def words(self):
        """The toggle buttons of the caption's words."""
        group = self.root.find("group(ing)?|panel", "^Words of the caption$")
        return group.children if group else []

    # ---- what it is told ----

    def key(self, *keys):
        self.desk.xdotool("key", "--clearmodifiers", *keys)

    def act(self, action, *parameter):
        """What an item of the menu does."""
        values = [GLib.Variant("s", word) for word in parameter]
        self.desk.bus.call_sync("org.looksay.Looksay", "/org/looksay/Looksay/window/1", "org.gtk.Actions", "Activate",
                                GLib.Variant("(sava{sv})", (action, values, {})), None, Gio.DBusCallFlags.NONE, 5000, None)

    def start_again(self, *arguments, **environment):
        """A second start, which hands over what it is told and ends."""
        done = subprocess.run([self.process.args[0], *map(str, arguments)], env=dict(self.environment, **environment),
                              capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr

    def type(self, text):
        self.desk.xdotool("type", "--delay", "2", text)

    def place(self, node):
        """x, y, width, height in the X window, whose frame GTK draws and does not count."""
        x, y, width, height = node.extents
        wide, high = self.root.children[0].extents[2:]
        shell = dict(line.split("=") for line in self.desk.xdotool("getwindowgeometry", "--shell", self.id).split())
        return x + (int(shell["WIDTH"]) - wide) // 2, y + (int(shell["HEIGHT"]) - high) // 2, width, height

    def click(self, node):
        x, y, width, height = self.place(node)
        self.desk.xdotool("mousemove", "--window", self.id, x + width // 2, y + height // 2, "click", "1")
        self.desk.xdotool("mousemove", WIDTH - 1, HEIGHT - 1)  # no tooltip

    def picture_of(self, node):
        """Its pixels; the window is in the upper left corner of the screen."""
        return self.desk.picture().crop(*self.place(node))

    def focus_dialog(self, title):
        """Gives the keyboard to another window of the program, as a window manager would."""
        def find():
            done = subprocess.run(["xdotool", "search", "--onlyvisible", "--pid", str(self.process.pid), "--name", title],
                                  env=self.desk.environment, capture_output=True, text=True, timeout=PATIENCE)
            return done.stdout.split()
        self.desk.xdotool("windowfocus", "--sync", wait_for(f"a window {title}", find)[-1])

    def answer_with_file(self, title, path):
        """Types the path into GTK's file dialog, which must have heard it all before it is sent."""
        def name():
            boxes = [node for node in self.root.find_all("text( box)?") if node.name != "Caption" and node.has_state(STATE_FOCUSED)]
            return boxes[0] if boxes else None
        def look():
            self.focus_dialog(title)  # again: the server gives the focus away when a window goes
            time.sleep(0.1)
            return name()
        if not wait_for("the dialog", look).name.startswith("Name"):
            self.key("ctrl+l")
            wait_for("the name's field", name)
        self.key("ctrl+a")
        self.type(str(path))
        wait_for("the name", lambda: name().text == str(path))
        self.key("Return")
        wait_for("the dialog to go", lambda: len(self.root.children) == 1 or self.key("Return"))

    def focus(self):
        self.desk.xdotool("windowfocus", "--sync", self.id)

    def wait_for_end(self):
        """The exit status; a program that complained to its log did not end well."""
        status = self.process.wait(timeout=PATIENCE)
        bad = [line for line in self.output().splitlines() if re.search("CRITICAL|looksay-gui-WARNING|Sanitizer", line)]
        if bad:
            raise AssertionError("\n".join(bad))
        return status

    def quit(self):
        self.key("ctrl+q")
        return self.wait_for_end()

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
