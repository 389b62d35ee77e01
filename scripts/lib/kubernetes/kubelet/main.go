// Kubelet is a node without containers, for captures of audit logs. Towards the apiserver it does what a real kubelet
// does: it registers a node, renews its lease (on SIGUSR1, so that a capture decides when), reports the pods bound to it
// as running, confirms their deletion, and serves exec. A command is never run: each one is answered with the same words.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	protocols "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	terminal "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	"k8s.io/utils/ptr"
)

// How long a container takes to end: long enough for who deletes its pod to begin to wait for that.
const stopping = 500 * time.Millisecond

func main() {
	name := flag.String("node", "worker-1", "name of the node; its certificate is system:node:NAME")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the apiserver")
	certificate := flag.String("tls-cert-file", "", "certificate to serve with")
	key := flag.String("tls-private-key-file", "", "key to serve with")
	flag.Parse()
	if err := run(*name, *kubeconfig, *certificate, *key); err != nil {
		log.Fatal(err)
	}
}

func run(name, kubeconfig, certificate, key string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	port, err := serve(certificate, key)
	if err != nil {
		return err
	}
	node := &node{client: client, name: name, known: map[types.UID]bool{}, gone: map[types.UID]bool{}}
	ctx := context.Background()
	if err := node.register(ctx, port); err != nil {
		return err
	}
	go node.renewOnSignal(ctx)
	for {
		if err := node.follow(ctx); err != nil {
			log.Printf("pods: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// serve answers exec on a free loopback port.
func serve(certificate, key string) (int32, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(exec),
		// A stream upgrade needs HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() { log.Fatal(server.ServeTLS(listener, certificate, key)) }()
	return int32(listener.Addr().(*net.TCPAddr).Port), nil
}

// exec serves /exec/NAMESPACE/POD/CONTAINER?command=...
func exec(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "exec" {
		http.NotFound(w, r)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, answer{}, parts[2], "", parts[3], r.URL.Query()["command"], options,
		time.Minute, 10*time.Second, protocols.SupportedStreamingProtocols)
}

type answer struct{}

func (answer) ExecInContainer(_ context.Context, _ string, _ types.UID, _ string, _ []string, _ io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan terminal.TerminalSize, _ time.Duration) error {
	if out == nil {
		return nil
	}
	_, err := fmt.Fprintln(out, "uid=0(root) gid=0(root) groups=0(root)")
	return err
}

type node struct {
	client kubernetes.Interface
	name   string
	lease  *coordinationv1.Lease
	// Pods reported as running, and those whose deletion was confirmed: the apiserver tells of each once more.
	known, gone map[types.UID]bool
}

func (n *node) register(ctx context.Context, port int32) error {
	now := metav1.Now()
	_, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{corev1.LabelHostname: n.name, corev1.LabelOSStable: "linux"}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
				{Type: corev1.NodeHostName, Address: n.name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
				Message: "kubelet is posting ready status", LastHeartbeatTime: now, LastTransitionTime: now}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	n.lease, err = n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: n.name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: ptr.To[int32](40), RenewTime: ptr.To(metav1.NowMicro())},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

func (n *node) renewOnSignal(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		n.lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
		lease, err := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Update(ctx, n.lease, metav1.UpdateOptions{})
		if err != nil {
			log.Printf("lease: %v", err)
			continue
		}
		n.lease = lease
	}
}

// follow watches the node's pods until the watch ends.
func (n *node) follow(ctx context.Context) error {
	mine := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", n.name).String()}
	pods, err := n.client.CoreV1().Pods("").List(ctx, mine)
	if err != nil {
		return err
	}
	for i := range pods.Items {
		n.sync(ctx, &pods.Items[i])
	}
	mine.ResourceVersion = pods.ResourceVersion
	watch, err := n.client.CoreV1().Pods("").Watch(ctx, mine)
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if pod, ok := event.Object.(*corev1.Pod); ok && event.Type != "DELETED" {
			n.sync(ctx, pod)
		}
	}
	return nil
}

// sync tries again for a while: an apiserver refuses a node's word on a pod until its own caches know the pod.
func (n *node) sync(ctx context.Context, pod *corev1.Pod) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := n.trySync(ctx, pod)
		if err == nil || apierrors.IsNotFound(err) {
			return
		}
		if time.Now().After(deadline) {
			log.Printf("pod %s/%s: %v", pod.Namespace, pod.Name, err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (n *node) trySync(ctx context.Context, pod *corev1.Pod) error {
	if n.gone[pod.UID] {
		return nil
	}
	if pod.DeletionTimestamp != nil {
		time.Sleep(stopping)
		err := n.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
		n.gone[pod.UID] = err == nil
		return err
	}
	if n.known[pod.UID] {
		return nil
	}
	if err := n.start(ctx, pod); err != nil {
		return err
	}
	n.known[pod.UID] = true
	return nil
}

func (n *node) start(ctx context.Context, pod *corev1.Pod) error {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "127.0.0.1", StartTime: &now}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true,
			Started: ptr.To(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Events(pod.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", pod.Name, now.UnixNano()), Namespace: pod.Namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Reason:         "Started", Message: "Started container " + pod.Spec.Containers[0].Name, Type: corev1.EventTypeNormal, Count: 1,
		Source: corev1.EventSource{Component: "kubelet", Host: n.name}, FirstTimestamp: now, LastTimestamp: now,
		ReportingController: "kubelet", ReportingInstance: n.name,
	}, metav1.CreateOptions{})
	return err
}
