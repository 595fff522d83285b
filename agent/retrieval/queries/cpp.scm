(function_definition declarator: (_ declarator: [(identifier) (field_identifier)] @name)) @definition
(function_definition declarator: (pointer_declarator declarator: (_ declarator: (_) @name)))
  @definition
(struct_specifier name: (_) @name body: (_)) @definition
(enum_specifier name: (_) @name body: (_)) @definition
(type_definition declarator: (type_identifier) @name) @definition
(preproc_def name: (_) @name) @definition
(preproc_function_def name: (_) @name) @definition

(class_specifier name: (_) @name body: (_)) @definition
(namespace_definition name: (_) @name) @definition
(function_definition declarator: (_ declarator: (qualified_identifier) @name)) @definition
(concept_definition name: (_) @name) @definition
