// Package toolstest tries the scripts in tools/ on machines that are not there:
// what they call is replaced by programs that write down how they were called.
package toolstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bare is a directory that is a PATH of its own: nothing is installed but what
// it is given.
type bare struct {
	t   *testing.T
	dir string
}

func bareMachine(t *testing.T) bare {
	t.Helper()
	if _, err := exec.LookPath("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh")
	}
	return bare{t, t.TempDir()}
}

// has installs a command that does what the script says; $LOG is where it may
// write, and $BIN where commands are.
func (b bare) has(name, script string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// need runs tools/need and gives what it printed, and the lines in $LOG.
func (b bare) need(args ...string) (out string, calls []string) {
	b.t.Helper()
	log := filepath.Join(b.t.TempDir(), "log")
	script, err := filepath.Abs("../../tools/need")
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{script}, args...)...)
	cmd.Env = []string{"PATH=" + b.dir, "LOG=" + log, "BIN=" + b.dir}
	text, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("need %v: %v\n%s", args, err, text)
	}
	raw, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n") {
		if line != "" {
			calls = append(calls, line)
		}
	}
	return string(text), calls
}

// install makes the commands that the packages of its arguments bring. The
// shell's own words are all it has.
const install = `echo "apt-get $*" >>"$LOG"
[ "$1" = install ] || exit 0
[ -z "$FRESH" ] || [ -e "$BIN/.index" ] || exit 100
for p in "$@"; do
  case $p in
    gcc) c=gcc ;; strace) c=strace ;; netcat-openbsd) c=nc ;; jq) c=jq ;; *) continue ;;
  esac
  echo '#!/bin/sh' >"$BIN/$c"; $CHMOD +x "$BIN/$c"
done`

func aptGet(fresh bool) string {
	chmod, err := exec.LookPath("chmod")
	if err != nil {
		chmod = "/bin/chmod"
	}
	set := "CHMOD=" + chmod + "\n"
	if !fresh {
		return set + "FRESH=\n" + install
	}
	// Without an index there is nothing to install, as on a fresh machine.
	return set + "FRESH=1\nif [ \"$1\" = update ]; then : >\"$BIN/.index\"; fi\n" + install
}

func TestNeedInstallsWhatIsMissing(t *testing.T) {
	b := bareMachine(t)
	b.has("id", "echo 0")
	b.has("curl", ":")
	b.has("apt-get", aptGet(false))
	out, calls := b.need("gcc:gcc libc6-dev", "strace", "nc:netcat-openbsd", "curl", "jq")
	if want := []string{"apt-get install -y -qq gcc libc6-dev strace netcat-openbsd jq"}; !slices.Equal(calls, want) {
		t.Errorf("it called %q, want %q", calls, want)
	}
	if strings.Contains(out, "warning") || !strings.Contains(out, "== installing gcc libc6-dev strace netcat-openbsd jq") {
		t.Errorf("it says %q", out)
	}
	if out, calls = b.need("gcc:gcc libc6-dev", "strace", "nc:netcat-openbsd", "curl", "jq"); out != "" || calls != nil {
		t.Errorf("with everything there it says %q and calls %q", out, calls)
	}
}

func TestNeedFetchesTheIndexOfAFreshMachine(t *testing.T) {
	b := bareMachine(t)
	b.has("id", "echo 0")
	b.has("apt-get", aptGet(true))
	out, calls := b.need("jq")
	want := []string{"apt-get install -y -qq jq", "apt-get update -qq", "apt-get install -y -qq jq"}
	if !slices.Equal(calls, want) {
		t.Errorf("it called %q, want %q", calls, want)
	}
	if strings.Contains(out, "warning") {
		t.Errorf("it says %q", out)
	}
}

func TestNeedAsksSudoAndNeverForAPassword(t *testing.T) {
	b := bareMachine(t)
	b.has("id", "echo 1000")
	b.has("true", ":")
	b.has("sudo", `echo "sudo $*" >>"$LOG"; [ "$1" = -n ] || exit 1; shift; "$@"`)
	b.has("apt-get", aptGet(false))
	out, calls := b.need("jq")
	want := []string{"sudo -n true", "sudo -n apt-get install -y -qq jq", "apt-get install -y -qq jq"}
	if !slices.Equal(calls, want) {
		t.Errorf("it called %q, want %q", calls, want)
	}
	if strings.Contains(out, "warning") {
		t.Errorf("it says %q", out)
	}
}

// Where nothing can be installed it says what will fail, and does not.
func TestNeedSaysWhatWillFail(t *testing.T) {
	for name, with := range map[string]func(bare){
		"no apt-get": func(bare) {},
		"no sudo":    func(b bare) { b.has("id", "echo 1000"); b.has("apt-get", "exit 1") },
		"sudo wants a password": func(b bare) {
			b.has("id", "echo 1000")
			b.has("sudo", "exit 1")
			b.has("apt-get", "exit 1")
		},
		"no such package": func(b bare) { b.has("apt-get", "exit 100") },
	} {
		t.Run(name, func(t *testing.T) {
			b := bareMachine(t)
			b.has("id", "echo 0")
			with(b)
			out, _ := b.need("gcc:gcc libc6-dev", "strace", "jq")
			for _, command := range []string{"gcc", "strace", "jq"} {
				if !strings.Contains(out, "warning: there is no '"+command+"'") {
					t.Errorf("nothing about %s in %q", command, out)
				}
			}
		})
	}
}
