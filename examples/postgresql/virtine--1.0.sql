\echo Use "CREATE EXTENSION virtine" to load this file. \quit

CREATE FUNCTION virtine_image_call() RETURNS language_handler LANGUAGE c AS 'MODULE_PATHNAME';
CREATE FUNCTION virtine_image_validator(oid) RETURNS void STRICT LANGUAGE c AS 'MODULE_PATHNAME';
CREATE FUNCTION virtine_call_handler() RETURNS language_handler LANGUAGE c AS 'MODULE_PATHNAME';
CREATE FUNCTION virtine_validator(oid) RETURNS void STRICT LANGUAGE c AS 'MODULE_PATHNAME';
CREATE FUNCTION virtine_js_call_handler() RETURNS language_handler LANGUAGE c AS 'MODULE_PATHNAME';
CREATE FUNCTION virtine_js_validator(oid) RETURNS void STRICT LANGUAGE c AS 'MODULE_PATHNAME';

CREATE TRUSTED LANGUAGE virtine_image HANDLER virtine_image_call VALIDATOR virtine_image_validator;
CREATE TRUSTED LANGUAGE virtine HANDLER virtine_call_handler VALIDATOR virtine_validator;
CREATE TRUSTED LANGUAGE virtine_js HANDLER virtine_js_call_handler VALIDATOR virtine_js_validator;

COMMENT ON LANGUAGE virtine_image IS 'image files, as functions that cannot be called';
COMMENT ON LANGUAGE virtine IS 'functions of images, each call in a virtual machine';
COMMENT ON LANGUAGE virtine_js IS 'JavaScript, each call in a virtual machine';
