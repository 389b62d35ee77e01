//! Names of MITRE ATT&CK, as Sigma tags them: `attack.credential-access`, `attack.t1552.007`.

/// Tactics in the order in which an attack goes. The last two are names of version 19 for parts of `defense-evasion`.
const TACTICS: [&str; 16] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
    "stealth",
    "defense-impairment",
];

/// Techniques of Enterprise ATT&CK 18.1, and the number of the last sub-technique of each. The last two are those that
/// version 19 made of T1562.
const TECHNIQUES: [(u16, u16); 218] = [
    (1001, 3),
    (1003, 8),
    (1005, 0),
    (1006, 0),
    (1007, 0),
    (1008, 0),
    (1010, 0),
    (1011, 1),
    (1012, 0),
    (1014, 0),
    (1016, 2),
    (1018, 0),
    (1020, 1),
    (1021, 8),
    (1025, 0),
    (1027, 17),
    (1029, 0),
    (1030, 0),
    (1033, 0),
    (1036, 12),
    (1037, 5),
    (1039, 0),
    (1040, 0),
    (1041, 0),
    (1046, 0),
    (1047, 0),
    (1048, 3),
    (1049, 0),
    (1052, 1),
    (1053, 7),
    (1055, 15),
    (1056, 4),
    (1057, 0),
    (1059, 13),
    (1068, 0),
    (1069, 3),
    (1070, 10),
    (1071, 5),
    (1072, 0),
    (1074, 2),
    (1078, 4),
    (1080, 0),
    (1082, 0),
    (1083, 0),
    (1087, 4),
    (1090, 4),
    (1091, 0),
    (1092, 0),
    (1095, 0),
    (1098, 7),
    (1102, 3),
    (1104, 0),
    (1105, 0),
    (1106, 0),
    (1110, 4),
    (1111, 0),
    (1112, 0),
    (1113, 0),
    (1114, 3),
    (1115, 0),
    (1119, 0),
    (1120, 0),
    (1123, 0),
    (1124, 0),
    (1125, 0),
    (1127, 3),
    (1129, 0),
    (1132, 2),
    (1133, 0),
    (1134, 5),
    (1135, 0),
    (1136, 3),
    (1137, 6),
    (1140, 0),
    (1176, 2),
    (1185, 0),
    (1187, 0),
    (1189, 0),
    (1190, 0),
    (1195, 3),
    (1197, 0),
    (1199, 0),
    (1200, 0),
    (1201, 0),
    (1202, 0),
    (1203, 0),
    (1204, 5),
    (1205, 2),
    (1207, 0),
    (1210, 0),
    (1211, 0),
    (1212, 0),
    (1213, 6),
    (1216, 2),
    (1217, 0),
    (1218, 15),
    (1219, 3),
    (1220, 0),
    (1221, 0),
    (1222, 2),
    (1480, 2),
    (1482, 0),
    (1484, 2),
    (1485, 1),
    (1486, 0),
    (1489, 0),
    (1490, 0),
    (1491, 2),
    (1495, 0),
    (1496, 4),
    (1497, 3),
    (1498, 2),
    (1499, 4),
    (1505, 6),
    (1518, 2),
    (1525, 0),
    (1526, 0),
    (1528, 0),
    (1529, 0),
    (1530, 0),
    (1531, 0),
    (1534, 0),
    (1535, 0),
    (1537, 0),
    (1538, 0),
    (1539, 0),
    (1542, 5),
    (1543, 5),
    (1546, 18),
    (1547, 15),
    (1548, 6),
    (1550, 4),
    (1552, 8),
    (1553, 6),
    (1554, 0),
    (1555, 6),
    (1556, 9),
    (1557, 4),
    (1558, 5),
    (1559, 3),
    (1560, 3),
    (1561, 2),
    (1562, 13),
    (1563, 2),
    (1564, 14),
    (1565, 3),
    (1566, 4),
    (1567, 4),
    (1568, 3),
    (1569, 3),
    (1570, 0),
    (1571, 0),
    (1572, 0),
    (1573, 2),
    (1574, 14),
    (1578, 5),
    (1580, 0),
    (1583, 8),
    (1584, 8),
    (1585, 3),
    (1586, 3),
    (1587, 4),
    (1588, 7),
    (1589, 3),
    (1590, 6),
    (1591, 4),
    (1592, 4),
    (1593, 3),
    (1594, 0),
    (1595, 3),
    (1596, 5),
    (1597, 2),
    (1598, 4),
    (1599, 1),
    (1600, 2),
    (1601, 2),
    (1602, 2),
    (1606, 2),
    (1608, 6),
    (1609, 0),
    (1610, 0),
    (1611, 0),
    (1612, 0),
    (1613, 0),
    (1614, 1),
    (1615, 0),
    (1619, 0),
    (1620, 0),
    (1621, 0),
    (1622, 0),
    (1647, 0),
    (1648, 0),
    (1649, 0),
    (1650, 0),
    (1651, 0),
    (1652, 0),
    (1653, 0),
    (1654, 0),
    (1656, 0),
    (1657, 0),
    (1659, 0),
    (1665, 0),
    (1666, 0),
    (1667, 0),
    (1668, 0),
    (1669, 0),
    (1671, 0),
    (1672, 0),
    (1673, 0),
    (1674, 0),
    (1675, 0),
    (1677, 0),
    (1678, 0),
    (1679, 0),
    (1680, 0),
    (1681, 0),
    (1685, 2),
    (1686, 1),
];

/// The tactics of these tags: places in the order of an attack, and names.
pub(super) fn tactics(tags: &[String]) -> Vec<(usize, &'static str)> {
    let names = tags.iter().filter_map(|it| it.strip_prefix("attack."));
    let mut found: Vec<_> = names
        .filter_map(|name| {
            let name = name.replace('_', "-");
            TACTICS.iter().enumerate().find(|(_, it)| **it == name).map(|(place, it)| (place, *it))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Their techniques: `T1552.007`.
pub(super) fn techniques(tags: &[String]) -> Vec<String> {
    let names = tags.iter().filter_map(|it| it.strip_prefix("attack."));
    names.filter(|it| technique(it).is_some()).map(str::to_uppercase).collect()
}

/// Whether ATT&CK has what a tag of `attack.` names. Groups (`attack.g…`) and software (`attack.s…`) are not looked up.
pub(super) fn is_known(tag: &str) -> bool {
    let Some(name) = tag.strip_prefix("attack.") else { return true };
    if let Some((number, sub)) = technique(name) {
        return TECHNIQUES.iter().any(|(it, subs)| *it == number && sub <= *subs);
    }
    let is_other = |kind: char| {
        let number = name.strip_prefix(kind).filter(|it| it.len() == 4);
        number.is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
    };
    TACTICS.contains(&name.replace('_', "-").as_str()) || is_other('g') || is_other('s')
}

/// `t1552.007` is technique 1552, sub-technique 7; without one it is 0.
fn technique(name: &str) -> Option<(u16, u16)> {
    let (number, sub) =
        name.strip_prefix(['t', 'T'])?.split_once('.').unwrap_or((name.get(1..)?, "000"));
    let digits = |text: &str, len: usize| {
        let is_number = text.len() == len && text.bytes().all(|it| it.is_ascii_digit());
        if is_number { text.parse().ok() } else { None }
    };
    Some((digits(number, 4)?, digits(sub, 3)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for tag in ["attack.t1552.007", "attack.T1609", "attack.credential-access"] {
            assert!(is_known(tag), "{tag}");
        }
        for tag in ["attack.defense_evasion", "attack.g0139", "attack.t1685.002", "cve.2020-8554"] {
            assert!(is_known(tag), "{tag}");
        }
        for tag in [
            "attack.t1552.009",
            "attack.t9999",
            "attack.t15",
            "attack.credentials",
            "attack.t1609.1",
        ] {
            assert!(!is_known(tag), "{tag}");
        }
    }
}
