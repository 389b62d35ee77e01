// Hollow is a real kubelet over a container runtime that only pretends, for captures of audit logs: all that a kubelet says to
// an apiserver is said by the kubelet's own code, and exec, attach, port-forward and logs are answered. No command is ever run.
// Unlike kubemark's, it calls itself what a kubelet calls itself, serves streams, records events, makes mirror pods and rotates
// its certificate.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	features "k8s.io/apiserver/pkg/util/feature"
	clientset "k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/remotecommand"
	cri "k8s.io/cri-api/pkg/apis"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	fake "k8s.io/cri-api/pkg/apis/testing"
	"k8s.io/kubelet/pkg/cri/streaming"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	cadvisor "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/certificate"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/server"
	"k8s.io/kubernetes/pkg/kubemark"
)

// How long a container of a job, or one that prepares a pod, takes to end.
const work = 500 * time.Millisecond

func main() {
	name := flag.String("node", "", "name of the node; its certificate is system:node:NAME")
	address := flag.String("address", "", "address of the node, where it serves")
	port := flag.Int("port", 10250, "port to serve on")
	dir := flag.String("dir", "", "folder for all it writes; manifests/ in it holds its static pods")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the apiserver")
	ca := flag.String("client-ca-file", "", "who may ask it")
	cert := flag.String("tls-cert-file", "", "certificate to serve with")
	key := flag.String("tls-private-key-file", "", "key to serve with")
	rotate := flag.String("rotate", "", "certificate and key in one file: asks for new ones as if these were about to end")
	speed := flag.Int("speed", 1, "how many times as often as a kubelet it says that it is alive")
	flag.Parse()
	if err := run(*name, *address, *port, *dir, *kubeconfig, *ca, *cert, *key, *rotate, *speed); err != nil {
		log.Fatal(err)
	}
}

func run(name, address string, port int, dir, kubeconfig, ca, cert, key, rotate string, speed int) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.QPS, config.Burst = 50, 100
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return err
	}
	if rotate != "" {
		if err := rotateCertificate(client, name, dir, rotate); err != nil {
			return err
		}
	}

	containers := &containers{FakeRuntimeService: fake.NewFakeRuntimeService(), logs: filepath.Join(dir, "logs")}
	containers.FakeStatus = &runtime.RuntimeStatus{Conditions: []*runtime.RuntimeCondition{
		{Type: runtime.RuntimeReady, Status: true}, {Type: runtime.NetworkReady, Status: true}}}
	if containers.streams, err = serveStreams(); err != nil {
		return err
	}
	images := fake.NewFakeImageService()

	flags, settings := kubemark.GetHollowKubeletConfig(&kubemark.HollowKubeletOptions{
		NodeName: name, KubeletPort: port, MaxPods: 110, NodeLabels: map[string]string{"topology.kubernetes.io/zone": "a"}})
	os.RemoveAll(flags.RootDirectory)
	flags.RootDirectory, flags.NodeIP = filepath.Join(dir, "kubelet"), address
	settings.Address, settings.StaticPodPath, settings.PodLogsDir = address, filepath.Join(dir, "manifests"), containers.logs
	settings.FileCheckFrequency.Duration = 200 * time.Millisecond
	settings.NodeLeaseDurationSeconds = int32(max(1, 40/speed))
	settings.NodeStatusUpdateFrequency.Duration /= time.Duration(speed)
	settings.NodeStatusReportFrequency.Duration /= time.Duration(speed)
	settings.EnableControllerAttachDetach = true
	settings.ClusterDNS = []string{"10.96.0.10"}
	for _, folder := range []string{flags.RootDirectory, settings.StaticPodPath, settings.PodLogsDir} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}

	// It runs in a user namespace, where the kernel's log may be closed to it.
	if err := features.DefaultMutableFeatureGate.Set("KubeletInUserNamespace=true"); err != nil {
		return err
	}
	kubelet := kubemark.NewHollowKubelet(flags, settings, client, client, &cadvisor.Fake{NodeName: name}, images, containers, cm.NewStubContainerManager())
	kubelet.KubeletDeps.Recorder = recorder(client, name)
	if kubelet.KubeletDeps.TLSOptions, err = serving(ca, cert, key); err != nil {
		return err
	}
	kubelet.Run(context.Background())
	return nil
}

// rotateCertificate asks for a client certificate, and again and again, as a kubelet does whose certificate is old.
func rotateCertificate(client *clientset.Clientset, name, dir, rotate string) error {
	pem, err := os.ReadFile(rotate)
	if err != nil {
		return err
	}
	manager, err := certificate.NewKubeletClientCertificateManager(dir, types.NodeName(name), pem, pem, "", "",
		func(*tls.Certificate) (clientset.Interface, error) { return client, nil })
	if err != nil {
		return err
	}
	manager.Start()
	return nil
}

// recorder writes events, unlike kubemark's.
func recorder(client *clientset.Clientset, name string) record.EventRecorder {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster.NewRecorder(legacyscheme.Scheme, v1.EventSource{Component: "kubelet", Host: name})
}

func serving(ca, cert, key string) (*server.TLSOptions, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	return &server.TLSOptions{CertFile: cert, KeyFile: key,
		Config: &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}}, nil
}

// serveStreams serves what the kubelet passes on: exec, attach and port-forward.
func serveStreams() (streaming.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := streaming.DefaultConfig
	config.Addr = listener.Addr().String()
	listener.Close()
	streams, err := streaming.NewServer(config, answers{})
	if err != nil {
		return nil, err
	}
	go func() { log.Fatal(streams.Start(true)) }()
	return streams, nil
}

// answers to streams.
type answers struct{}

func (answers) Exec(_ context.Context, _ string, _ []string, _ io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if out != nil {
		fmt.Fprintln(out, "uid=0(root) gid=0(root) groups=0(root)")
	}
	return nil
}

func (answers) Attach(_ context.Context, _ string, _ io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if out != nil {
		fmt.Fprintln(out, "listening")
	}
	return nil
}

func (answers) PortForward(_ context.Context, _ string, _ int32, stream io.ReadWriteCloser) error {
	return stream.Close()
}

// containers pretends to run containers.
type containers struct {
	*fake.FakeRuntimeService
	streams streaming.Server
	logs    string
}

var _ cri.RuntimeService = &containers{}

// CreateContainer gives each container a log.
func (c *containers) CreateContainer(ctx context.Context, sandbox string, config *runtime.ContainerConfig, pod *runtime.PodSandboxConfig) (string, error) {
	id, err := c.FakeRuntimeService.CreateContainer(ctx, sandbox, config, pod)
	if err != nil {
		return "", err
	}
	path := filepath.Join(pod.LogDirectory, config.LogPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	line := time.Now().UTC().Format(time.RFC3339Nano) + " stdout F started\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		return "", err
	}
	c.Lock()
	defer c.Unlock()
	c.Containers[id].LogPath = path
	return id, nil
}

// StartContainer lets those end by themselves that do so in life.
func (c *containers) StartContainer(ctx context.Context, id string) error {
	if err := c.FakeRuntimeService.StartContainer(ctx, id); err != nil {
		return err
	}
	c.Lock()
	container := c.Containers[id]
	_, job := c.Sandboxes[container.SandboxID].Labels["batch.kubernetes.io/job-name"]
	c.Unlock()
	if job || strings.HasPrefix(container.Metadata.Name, "init") {
		time.AfterFunc(work, func() { _ = c.StopContainer(context.Background(), id, 0) })
	}
	return nil
}

func (c *containers) ExecSync(context.Context, string, []string, time.Duration) ([]byte, []byte, error) {
	return []byte("uid=0(root) gid=0(root) groups=0(root)\n"), nil, nil
}

func (c *containers) Exec(_ context.Context, request *runtime.ExecRequest) (*runtime.ExecResponse, error) {
	return c.streams.GetExec(request)
}

func (c *containers) Attach(_ context.Context, request *runtime.AttachRequest) (*runtime.AttachResponse, error) {
	return c.streams.GetAttach(request)
}

func (c *containers) PortForward(_ context.Context, request *runtime.PortForwardRequest) (*runtime.PortForwardResponse, error) {
	return c.streams.GetPortForward(request)
}
