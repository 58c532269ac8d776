// A static Go program: goroutines, channels, timers, signals, processes, files, sockets, panics.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(99)
	}
}

func main() {
	os.MkdirAll(os.TempDir(), 0777)
	dir, err := os.MkdirTemp("", "go-")
	check(err)
	check(os.Chdir(dir))

	fmt.Println("== goroutines")
	var wg sync.WaitGroup
	var count atomic.Int64
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func() { defer wg.Done(); runtime.Gosched(); count.Add(int64(i)) }()
	}
	wg.Wait()
	fmt.Println(count.Load())
	jobs, results := make(chan int), make(chan int)
	for w := 0; w < 8; w++ {
		go func() {
			for j := range jobs {
				results <- j * j
			}
		}()
	}
	go func() {
		for i := 0; i < 500; i++ {
			jobs <- i
		}
		close(jobs)
	}()
	sum := 0
	for i := 0; i < 500; i++ {
		sum += <-results
	}
	fmt.Println(sum)
	var mu sync.Mutex
	n := 0
	for i := 0; i < 50; i++ {
		wg.Add(1)
		go func() { defer wg.Done(); runtime.LockOSThread(); mu.Lock(); n++; mu.Unlock(); time.Sleep(time.Millisecond) }()
	}
	wg.Wait()
	fmt.Println(n)
	stop := make(chan bool)
	go func() { // never yields: preemption by signal has to stop it
		for x := 0; ; x++ {
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	runtime.GC()
	close(stop)

	fmt.Println("== timers")
	start := time.Now()
	<-time.After(50 * time.Millisecond)
	fmt.Println(time.Since(start) >= 50*time.Millisecond)
	ticker := time.NewTicker(5 * time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err())

	fmt.Println("== processes and signals")
	out, err := exec.Command("echo", "from a child").Output()
	fmt.Printf("%q %v\n", out, err)
	fmt.Println(exec.Command("sh", "-c", "exit 3").Run())
	fmt.Println(exec.Command("sh", "-c", "kill -9 $$").Run())
	_, err = exec.LookPath("nothing-of-this-name")
	fmt.Println(errors.Is(err, exec.ErrNotFound))
	ctx2, cancel2 := context.WithTimeout(context.Background(), 50*time.Millisecond)
	fmt.Println(exec.CommandContext(ctx2, "sleep", "10").Run())
	cancel2()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-signals)
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var p *int
		*p = 1
	}()
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		zero := 0
		fmt.Println(1 / zero)
	}()

	fmt.Println("== files")
	check(os.MkdirAll("a/b/c", 0755))
	for i := 0; i < 20; i++ {
		check(os.WriteFile(fmt.Sprintf("a/b/%d", i), make([]byte, i*100), 0644))
	}
	var names []string
	filepath.Walk("a", func(path string, info os.FileInfo, err error) error { names = append(names, path); return err })
	sort.Strings(names)
	fmt.Println(len(names), names[3])
	f, err := os.OpenFile("file", os.O_RDWR|os.O_CREATE, 0600)
	check(err)
	f.WriteAt([]byte("at ten"), 10)
	f.Seek(12, io.SeekStart)
	b := make([]byte, 10)
	got, err := f.Read(b)
	fmt.Println(got, err, string(b[:got]))
	info, _ := f.Stat()
	fmt.Println(info.Size(), info.Mode())
	_, err = os.Open("missing")
	fmt.Println(err)
	check(os.RemoveAll("a"))
	m, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check(err)
	m[11] = 'T'
	f.ReadAt(b, 10)
	fmt.Println(string(b[:6]))

	fmt.Println("== network")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "path ", r.URL.Path) }))
	for i := 0; i < 20; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			resp, err := http.Get(fmt.Sprintf("http://%s/%d", listener.Addr(), i))
			check(err)
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != fmt.Sprint("path /", i) {
				fmt.Println("wrong:", string(body))
			}
		}()
	}
	wg.Wait()
	unix, err := net.Listen("unix", "sock")
	check(err)
	go func() { c, _ := unix.Accept(); io.Copy(c, c); c.Close() }()
	c, err := net.Dial("unix", "sock")
	check(err)
	fmt.Fprintln(c, "echoed")
	line, _ := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = c.Read(b)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	fmt.Println("== memory")
	data := make([][]byte, 0)
	for i := 0; i < 64; i++ {
		data = append(data, make([]byte, 1<<20))
		data[i][i] = 1
	}
	runtime.GC()
	fmt.Println(len(data), runtime.NumGoroutine() < 100, runtime.NumCPU() > 0)
	panic("the end")
}
