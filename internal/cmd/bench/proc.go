//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usageOf is what a process has used so far, and holds now.
type usageOf struct {
	cpu                    time.Duration
	voluntary, involuntary float64 // switches between threads
}

// processUsage adds up the threads of a process; what ended threads used is
// lost, which for servers that keep their threads is nothing.
func processUsage(pid int) (u usageOf, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		return u, errors.Join(err, fmt.Errorf("there is no process %d", pid))
	}
	precise := true
	for _, task := range tasks {
		b, err := os.ReadFile(task + "/schedstat")
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Stat(task); gone == nil {
				precise = false // a kernel without it
			}
			continue
		} else if err != nil {
			continue // a thread that ended meanwhile
		}
		text, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return u, fmt.Errorf("reading %s/schedstat: %w", task, err)
		}
		u.cpu += time.Duration(ns)
		status := statusOf(task + "/status")
		u.voluntary += status["voluntary_ctxt_switches"]
		u.involuntary += status["nonvoluntary_ctxt_switches"]
	}
	if !precise {
		u.cpu, err = cpuOf(pid)
	}
	return u, err
}

// statusOf reads the numbers of a file like /proc/PID/status; none if the
// process is gone.
func statusOf(path string) map[string]float64 {
	values := map[string]float64{}
	f, err := os.Open(path)
	if err != nil {
		return values
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
				values[name] = v
			}
		}
	}
	return values
}

// residentMemory is a process's RSS in bytes.
func residentMemory(pid int) (float64, error) {
	kb, ok := statusOf(fmt.Sprintf("/proc/%d/status", pid))["VmRSS"]
	if !ok {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	return kb * 1024, nil
}

// openFilesOf counts a process's descriptors.
func openFilesOf(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// metricsOf reads a server's /metrics, names as they stand there with their
// labels; none if it has no such page.
func metricsOf(addr string) map[string]float64 {
	values := map[string]float64{}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		return values
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return values
	}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if i := strings.LastIndexByte(s.Text(), ' '); i > 0 && s.Text()[0] != '#' {
			if v, err := strconv.ParseFloat(s.Text()[i+1:], 64); err == nil {
				values[s.Text()[:i]] = v
			}
		}
	}
	return values
}

// Names under which Go programs usually tell how long goroutines waited for
// locks, and how many there are.
const (
	lockWaitMetric   = "go_sync_mutex_wait_total_seconds_total"
	goroutinesMetric = "go_goroutines"
)
