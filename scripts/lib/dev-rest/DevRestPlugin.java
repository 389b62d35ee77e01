package devrest;

import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.apache.lucene.util.Version;
import org.elasticsearch.Build;
import org.elasticsearch.action.admin.cluster.state.ClusterStateRequest;
import org.elasticsearch.action.admin.cluster.state.ClusterStateResponse;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.regex.Regex;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.IndexNotFoundException;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestActionListener;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Answers GET and HEAD / and GET _data_stream on the bare Elasticsearch 8.19
 * distribution of Maven Central, whose own modules for these (rest-root,
 * data-streams) are not published. Only for tests. Everything else about data
 * streams (auto-creation by a bulk create, rollover, search) is in the server.
 */
public class DevRestPlugin extends Plugin implements ActionPlugin {
    @Override
    public Collection<RestHandler> getRestHandlers(
        Settings settings,
        NamedWriteableRegistry registry,
        RestController controller,
        ClusterSettings clusterSettings,
        IndexScopedSettings indexScopedSettings,
        SettingsFilter filter,
        IndexNameExpressionResolver resolver,
        Supplier<DiscoveryNodes> nodes,
        Predicate<NodeFeature> features
    ) {
        return List.of(new Root(), new DataStreams());
    }

    /** The same fields in the same order as the real one. */
    static class Root extends StateHandler {
        Root() {
            super("dev_root", new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
        }

        @Override
        void write(String name, ClusterState state, XContentBuilder b) throws Exception {
            Build build = Build.current();
            b.field("name", state.nodes().getLocalNode().getName());
            b.field("cluster_name", state.getClusterName().value());
            b.field("cluster_uuid", state.metadata().clusterUUID());
            b.startObject("version");
            b.field("number", build.version());
            b.field("build_flavor", build.flavor());
            b.field("build_type", build.type().displayName());
            b.field("build_hash", build.hash());
            b.field("build_date", build.date());
            b.field("build_snapshot", build.isSnapshot());
            b.field("lucene_version", Version.LATEST.toString());
            b.field("minimum_wire_compatibility_version", build.minWireCompatVersion());
            b.field("minimum_index_compatibility_version", build.minIndexCompatVersion());
            b.endObject();
            b.field("tagline", "You Know, for Search");
        }
    }

    /** A part of the real one's fields: what one needs to see which backing indices there are. */
    static class DataStreams extends StateHandler {
        DataStreams() {
            super(
                "dev_data_streams",
                new Route(RestRequest.Method.GET, "/_data_stream"),
                new Route(RestRequest.Method.GET, "/_data_stream/{name}")
            );
        }

        @Override
        void write(String name, ClusterState state, XContentBuilder b) throws Exception {
            String[] wanted = Strings.splitStringByCommaToArray(name == null || name.equals("_all") ? "*" : name);
            for (String one : wanted) { // as the real one: 404 if a name without wildcard does not exist
                if (Regex.isSimpleMatchPattern(one) == false && state.metadata().dataStreams().containsKey(one) == false) {
                    throw new IndexNotFoundException(one);
                }
            }
            b.startArray("data_streams");
            for (DataStream stream : state.metadata().dataStreams().values()) {
                if (Regex.simpleMatch(wanted, stream.getName()) == false) continue;
                b.startObject().field("name", stream.getName());
                b.startObject("timestamp_field").field("name", "@timestamp").endObject();
                b.startArray("indices");
                for (var index : stream.getIndices()) {
                    b.startObject().field("index_name", index.getName()).field("index_uuid", index.getUUID()).endObject();
                }
                b.endArray();
                b.field("generation", stream.getGeneration()).field("hidden", stream.isHidden()).endObject();
            }
            b.endArray();
        }
    }

    /** A handler whose answer is made from the cluster state. */
    abstract static class StateHandler extends BaseRestHandler {
        private final String name;
        private final List<Route> routes;

        StateHandler(String name, Route... routes) {
            this.name = name;
            this.routes = List.of(routes);
        }

        abstract void write(String name, ClusterState state, XContentBuilder b) throws Exception;

        @Override
        public String getName() {
            return name;
        }

        @Override
        public List<Route> routes() {
            return routes;
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            String wanted = request.param("name");
            request.param("expand_wildcards"); // taken, because a parameter nobody asks for is an error 400
            return channel -> client.admin()
                .cluster()
                .state(new ClusterStateRequest(TimeValue.timeValueSeconds(30)), new RestActionListener<ClusterStateResponse>(channel) {
                    @Override
                    protected void processResponse(ClusterStateResponse response) throws Exception {
                        XContentBuilder b = channel.newBuilder().startObject();
                        write(wanted, response.getState(), b);
                        channel.sendResponse(new RestResponse(RestStatus.OK, b.endObject()));
                    }
                });
        }
    }
}
